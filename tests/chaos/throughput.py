"""How much a few URLs that need several retries slow down a large request: the same request with and without them.

It compares the time until 98% are settled, because the last retried images wait for their schedule. The whole time is
printed too.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from deploy.demo.catalogue import manifest
from deploy.demo.client import JSON, Client
from tests.chaos.invariants import Violation
from tests.chaos.report import say, say_table
from tests.chaos.world import World

FAILURES = 3
EVERY = 100
"""One URL in so many needs retries."""
MEASURED = 0.98
MOST_LOST = 0.10
SETTLED_WITHIN = 3600.0
URLS_A_ROW = 10


@dataclass(frozen=True, slots=True)
class Speed:
    """Seconds until 98%, and until all images were settled."""

    images: int
    most: float
    whole: float

    @property
    def rate(self) -> float:
        return self.images * MEASURED / self.most


def measure_throughput(world: World, images: int) -> list[Violation]:
    """Print the speeds; a violation where the difference is more than promised.

    The order plain, flaky, flaky, plain cancels a load of the machine that grows or shrinks.
    """
    _speed(world, min(images, 1000), flaky=False)  # a warm-up
    order = (False, True, True, False)
    speeds = [(flaky, _speed(world, images, flaky=flaky)) for flaky in order]
    rows = [
        (_NAMES[flaky], speed.images, f"{speed.rate:.0f}", f"{speed.most:.1f}", f"{speed.whole:.1f}")
        for flaky, speed in speeds
    ]
    say_table("Throughput", ("request", "images", "images/s", "s to 98%", "s in all"), rows)
    plain, flaky = (sum(speed.most for kind, speed in speeds if kind is wanted) for wanted in (False, True))
    lost = 1 - plain / flaky
    say(f"  lost: {lost:.1%}, at most {MOST_LOST:.0%} are promised")
    return [Violation("retries_cost_little", f"{lost:.1%} of the throughput is lost")] if lost > MOST_LOST else []


_NAMES = {False: "all good", True: f"1% fail {FAILURES} times"}


def _speed(world: World, images: int, *, flaky: bool) -> Speed:
    client = Client(world.stack.base_url)
    request_id = client.upload(manifest(_products(world, images, flaky=flaky)))["request_id"]
    begun, most = time.monotonic(), []

    def watch(request: JSON) -> None:
        if request["progress"] >= MEASURED:
            most.append(time.monotonic() - begun)

    request = client.finished(request_id, within=SETTLED_WITHIN, every=0.02, watch=watch)
    assert request["status"] == "completed", request["status"]
    client.call("DELETE", f"/v1/requests/{request_id}")
    return Speed(images, most[0], most[-1])


def _products(world: World, images: int, *, flaky: bool) -> Iterator[tuple[str, str, list[str]]]:
    random, tag = Random(images), f"throughput{time.time_ns()}"
    for start in range(0, images, URLS_A_ROW):
        urls = [
            world.shelf.flaky(random, f"{tag}-{number}", failures=FAILURES)
            if flaky and number % EVERY == 0
            else world.shelf.good(random, f"{tag}-{number}")
            for number in range(start, min(start + URLS_A_ROW, images))
        ]
        yield f"{start}", "Product", urls
