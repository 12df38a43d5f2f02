"""Whether a few URLs that need several retries slow a large request down: the same request with and without them.

Compared is the time until 98% are settled: at the very end the retried images wait out their schedule, which is the
promise and no loss of speed. The whole time is printed too.
"""

import time
from dataclasses import dataclass
from random import Random

from tests.chaos.invariants import Violation
from tests.chaos.load import Order, Row
from tests.chaos.report import say, say_table
from tests.chaos.shop import Accepted, Shop
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

    Plain, flaky, flaky, plain: what else this machine does, more and more or less and less, hits both alike.
    """
    _speed(world, min(images, 1000), flaky=False)  # the first time, all is cold
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
    shop = Shop(world.stack.base_url, world.hooks)
    shop.open([_order(world, images, flaky=flaky)])
    begun, most = time.monotonic(), None
    try:
        while time.monotonic() < begun + SETTLED_WITHIN:
            accepted = next(iter(shop.accepted()), None)
            begun = begun if accepted else time.monotonic()
            if accepted and most is None and accepted.progress >= MEASURED:
                most = time.monotonic() - begun
            if accepted and accepted.terminal:
                return _measured(shop, accepted, images, most, time.monotonic() - begun)
            time.sleep(0.02)
    finally:
        shop.close()
    raise AssertionError("the request did not end")


def _measured(shop: Shop, accepted: Accepted, images: int, most: float | None, whole: float) -> Speed:
    assert accepted.status == "completed", accepted.status
    shop.insist("DELETE", f"/v1/requests/{accepted.request_id}")
    return Speed(images, most or whole, whole)


def _order(world: World, images: int, *, flaky: bool) -> Order:
    random = Random(images)
    order = Order(f"throughput{time.time_ns()}", at=0, hook=None)
    urls = [
        world.shelf.flaky(random, f"{order.key}-{number}", failures=FAILURES)
        if flaky and number % EVERY == 0
        else world.shelf.good(random, f"{order.key}-{number}")
        for number in range(images)
    ]
    for start in range(0, images, URLS_A_ROW):
        order.rows.append(Row(f"{start}", "Product", urls[start : start + URLS_A_ROW]))
    return order
