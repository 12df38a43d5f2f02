"""How long three images take, with nothing else to do and beside a large request."""

import time
from typing import Any

from tests.bench.bench import Bench
from tests.bench.journey import Api, catalogue, is_terminal, new_urls
from tests.bench.samples import stopwatch, summary
from tests.stack import Stack

IMAGES = 3
KIND = "jpeg-0.3"
POLL = 0.005
PAUSE = 0.7
"""Between two requests, so that each meets an idle stack."""


def measure(bench: Bench) -> dict[str, Any]:
    with bench.stack("latency") as stack, Api(stack) as api:
        _three(bench, api)  # a warm-up
        idle = [_three(bench, api) for _ in range(bench.some(15, 3))]
        bench.say(f"  idle: {summary(idle)['median'] * 1000:.0f} ms")
        beside, load = _beside(bench, stack, api)
    return {"idle": summary(idle), "beside": summary(beside), "load": load}


def _beside(bench: Bench, stack: Stack, api: Api) -> tuple[list[float], dict[str, Any]]:
    """Beside a request of 20,000 images of the same class, which must still be running after the last of them."""
    images = bench.some(20_000, 2_000)
    with Api(stack) as other:
        large = other.upload(catalogue(new_urls(bench.origin, KIND, images)))
        other.until(large, lambda request: request["images"]["completed"] > 100, every=0.1)
        found = []
        for _ in range(bench.some(7, 2)):
            found.append(_three(bench, api))
            bench.say(f"  beside {images:,}: {found[-1] * 1000:.0f} ms")
        state = other.request(large)
        assert not is_terminal(state), "the large request was finished before the small ones"
        other.call("POST", f"/v1/requests/{large}/cancel", expected=202)
        other.until(large, is_terminal, every=0.2)
    return found, {"images": images, "progress_at_the_end": state["progress"]}


def _three(bench: Bench, api: Api) -> float:
    """Seconds from the upload's first byte to terminal."""
    time.sleep(PAUSE)
    body = catalogue(new_urls(bench.origin, KIND, IMAGES))
    with stopwatch() as passed:
        request = api.until(api.upload(body), is_terminal, every=POLL)
    assert request["images"]["completed"] == IMAGES
    return passed()
