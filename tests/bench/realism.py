"""Are the drawn pictures like photographs? Beside the one photograph that a package brings: matplotlib's portrait."""

import time
from statistics import median
from typing import Any

from matplotlib import cbook
from PIL import Image

from tests.bench.limit import compress
from tests.bench.pictures import JPEG, Q92, encoded, photograph

ROUNDS = 60


def photograph_check() -> dict[str, Any]:
    """Bytes at quality 50 and CPU to get there, of the photograph and of drawn pictures with its size and bytes."""
    path = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    real = encoded(picture, **Q92)
    drawn = [encoded(photograph(picture.size, len(real), seed), **Q92) for seed in range(4)]
    return {
        "size": list(picture.size),
        "source_bytes": len(real),
        "photograph": _cost([real]),
        "drawn": _cost(drawn),
    }


def _cost(bodies: list[bytes]) -> dict[str, float]:
    spent = []
    for number in range(ROUNDS):
        begun = time.process_time()
        compress(bodies[number % len(bodies)], JPEG)
        spent.append(time.process_time() - begun)
    sizes = [compress(body, JPEG) for body in bodies]
    return {"cpu_ms": median(spent) * 1000, "bytes": sum(sizes) / len(sizes)}
