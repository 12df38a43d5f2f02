"""The stopwatch beside bare Pillow: the whole journey against two processes that only decode and save."""

import io
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from deploy.demo.catalogue import manifest
from deploy.demo.client import Client
from tests.origin import Origin
from tests.pictures import encode, photo
from tests.stack import Stack

IMAGES = 960
DISTINCT = 16
SIZE = (1200, 833)  # one megapixel


def compress(data: bytes) -> int:
    """Decode and encode, nothing else."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as picture:
        picture.save(out, "JPEG", quality=50)
    return len(out.getvalue())


@pytest.fixture
def stack(workspace: Path) -> Iterator[Stack]:
    """One worker, as the local stack has by default."""
    with Stack(workspace / "bench") as stack:
        yield stack


@pytest.mark.bench
def test_the_journey_against_bare_pillow(stack: Stack) -> None:
    pictures = [encode(photo(*SIZE, seed), "jpeg", quality=85) for seed in range(DISTINCT)]
    bare = max(_bare(pictures, kept_blocks=0) for _ in range(2))
    tuned = max(_bare(pictures, kept_blocks=8) for _ in range(2))
    with Origin(port=stack.host_ports[0]) as origin:
        for number, picture in enumerate(pictures):
            origin.add(f"/{number}.jpg", picture)
        ours = max(_journey(Client(stack.base_url), origin, salt) for salt in range(2))
    print(
        f"\n{IMAGES} JPEGs of 1 MP: bare Pillow in 2 processes {bare:.0f}/s, "
        f"the same that keeps its memory blocks {tuned:.0f}/s, "
        f"the journey {ours:.0f}/s, ratios {ours / bare:.2f} and {ours / tuned:.2f}"
    )


def _keep(blocks: int) -> None:
    """By default Pillow frees its memory blocks after each picture, which costs time."""
    Image.core.set_blocks_max(blocks)  # type: ignore[attr-defined]


def _bare(pictures: list[bytes], *, kept_blocks: int) -> float:
    with ProcessPoolExecutor(2, initializer=partial(_keep, kept_blocks)) as pool:
        list(pool.map(compress, pictures))
        begun = time.monotonic()
        list(pool.map(compress, [pictures[n % DISTINCT] for n in range(IMAGES)], chunksize=8))
        return IMAGES / (time.monotonic() - begun)


def _journey(api: Client, origin: Origin, salt: int) -> float:
    urls = [origin.url(f"/{n % DISTINCT}.jpg?{salt}.{n}") for n in range(IMAGES)]
    body = manifest([(str(n), f"Product {n}", [url]) for n, url in enumerate(urls)])
    begun = time.monotonic()
    request = api.finished(api.upload(body)["request_id"], within=300)
    assert request["images"]["completed"] == IMAGES
    return IMAGES / (time.monotonic() - begun)
