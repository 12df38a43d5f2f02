"""Images a second: the limit, the journey and the peer in turn, so that a change of the machine meets all of them."""

from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from tests.bench.bench import Bench
from tests.bench.journey import journey, new_urls
from tests.bench.limit import KEPT_BLOCKS, compress, limit
from tests.bench.peer.fleet import peer_running
from tests.bench.pictures import CLASSES, pictures_of
from tests.bench.realism import photograph_check
from tests.bench.samples import ratios, summary


@dataclass(frozen=True, slots=True)
class Amounts:
    """Images of one run, so that each takes some seconds."""

    limit: int
    journey: int
    peer: int = 0


AMOUNTS = {
    "jpeg-1": Amounts(800, 1000, 600),
    "jpeg-0.3": Amounts(2500, 3000, 1200),
    "jpeg-4": Amounts(250, 350),
    "png-1": Amounts(24, 70),
    "webp-1": Amounts(60, 90),
}
QUICK = {
    "jpeg-1": Amounts(60, 60, 40),
    "jpeg-0.3": Amounts(200, 200, 60),
    "jpeg-4": Amounts(16, 16),
    "png-1": Amounts(4, 8),
    "webp-1": Amounts(8, 8),
}


def measure(bench: Bench) -> dict[str, Any]:
    classes = {}
    for name in AMOUNTS:
        with ExitStack() as running:
            classes[name] = _class(bench, name, running)
    return {"classes": classes, "photograph": photograph_check()}


def _class(bench: Bench, name: str, running: ExitStack) -> dict[str, Any]:
    kind, amounts = CLASSES[name], (QUICK if bench.quick else AMOUNTS)[name]
    bodies = pictures_of(kind, bench.pictures)
    stack = running.enter_context(bench.stack(f"speed-{name}"))
    peer = running.enter_context(peer_running(bench.folder / f"speed-{name}-peer")) if amounts.peer else None
    journey(stack, bench.origin, name, max(16, amounts.journey // 4))  # a warm-up
    if peer:
        peer.run(new_urls(bench.origin, name, amounts.peer // 4))
    found = defaultdict[str, list[float]](list)
    for pair in range(bench.pairs):
        for key, blocks in (("bare", 0), ("kept", KEPT_BLOCKS)):
            rate, cpu_ms = limit(bodies, kind.limit, amounts.limit, kept_blocks=blocks)
            found[key].append(rate)
            found[f"{key} cpu ms"].append(cpu_ms)
        found["journey"].append(journey(stack, bench.origin, name, amounts.journey))
        if peer:
            found["peer"].append(peer.run(new_urls(bench.origin, name, amounts.peer)))
        shown = ", ".join(f"{key} {rates[-1]:.0f}/s" for key, rates in found.items() if "cpu" not in key)
        bench.say(f"  {kind.title} {pair + 1}/{bench.pairs}: {shown}")
    outputs = [compress(body, kind.limit) for body in bodies]
    return {
        "images": amounts.journey,
        "source_bytes": sum(map(len, bodies)) / len(bodies),
        "limit_bytes": sum(outputs) / len(outputs),
        **{key: summary(values) for key, values in found.items()},
        "against_bare": ratios(found["journey"], found["bare"]),
        "against_kept": ratios(found["journey"], found["kept"]),
        **({"against_peer": ratios(found["journey"], found["peer"])} if peer else {}),
    }
