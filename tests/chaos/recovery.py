"""How much longer a request takes when one part breaks, against the same requests without a fault in the same world."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median

from tests.chaos.faults import FAULTS
from tests.chaos.invariants import Violation
from tests.chaos.load import Order, Row
from tests.chaos.report import say, say_table
from tests.chaos.shop import Shop
from tests.chaos.world import World

REQUESTS = 6
IMAGES = 150
BREAK_AFTER = 1.0
"""Seconds after the first order: all are at work then."""
SETTLED_WITHIN = 240.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """`median` and `worst` are limits in seconds for the extra time of a request; None where none is promised."""

    name: str
    rounds: int = 1
    median: float | None = None
    worst: float | None = None


SCENARIOS = (
    Scenario("kill worker", rounds=2, median=30, worst=150),
    Scenario("wipe valkey", rounds=2, worst=15),
    Scenario("kill postgres"),
    Scenario("drop fetch reply"),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """Extra seconds of each request."""

    scenario: Scenario
    base: float
    extra: tuple[float, ...]

    def violations(self) -> list[Violation]:
        found = []
        for what, value, limit in (
            ("median", median(self.extra), self.scenario.median),
            ("worst", max(self.extra), self.scenario.worst),
        ):
            if limit is not None and value > limit:
                text = f"{self.scenario.name}: {what} extra time is {value:.1f} s, at most {limit:g} s are promised"
                found.append(Violation("recovery_is_in_time", text))
        return found


def measure_recovery(world: World) -> list[Violation]:
    """Measure all scenarios, print the table, and return what took too long."""
    _times(world, None)  # the first time, all is cold
    base = _times(world, None)
    measured = []
    for scenario in SCENARIOS:
        extra: list[float] = []
        for number in range(scenario.rounds):
            taken = _times(world, _breaking(world, scenario.name, number))
            extra += [now - before for now, before in zip(taken, base, strict=True)]
        measured.append(Measured(scenario, median(base), tuple(extra)))
        say(f"  {scenario.name}: {', '.join(f'{seconds:.1f}' for seconds in extra)} s extra")
    say_table("Recovery: extra seconds of a request", _HEAD, [_row(one) for one in measured])
    return [violation for one in measured for violation in one.violations()]


_HEAD = ("fault", "requests", "without fault", "median extra", "worst extra", "promised")


def _row(one: Measured) -> Sequence[object]:
    limits = (("median", one.scenario.median), ("worst", one.scenario.worst))
    promised = ", ".join(f"{what} {limit:g}" for what, limit in limits if limit is not None)
    return (
        one.scenario.name,
        len(one.extra),
        f"{one.base:.1f}",
        f"{median(one.extra):.1f}",
        f"{max(one.extra):.1f}",
        promised or "-",
    )


def _breaking(world: World, name: str, number: int) -> Callable[[], Callable[[], object]]:
    fault = next(fault for fault in FAULTS if fault.name == name)
    return lambda: fault.begin(world, Random(number))


def _times(world: World, breaks: Callable[[], Callable[[], object]] | None) -> list[float]:
    """Seconds from acceptance to the end for each request, in the order in which they were sent."""
    tag = f"recovery{time.time_ns() % 10**9}"
    shop = Shop(world.stack.base_url, world.hooks)
    shop.open(_orders(world, tag))
    try:
        if breaks:
            time.sleep(BREAK_AFTER)
            heal = breaks()
            _wait(shop)
            heal()
        else:
            _wait(shop)
        return _finish(world, shop, tag)
    finally:
        shop.close()


def _orders(world: World, tag: str) -> list[Order]:
    random = Random(tag)
    made = []
    for number in range(REQUESTS):
        order = Order(f"{tag}-{number}", at=0.05 * number, hook=None)
        for row in range(IMAGES):
            url = world.shelf.good(random, f"{order.key}-{row}")
            order.rows.append(Row(f"{row}", "Product", [url]))
        made.append(order)
    return made


def _wait(shop: Shop) -> None:
    deadline = time.monotonic() + SETTLED_WITHIN
    while shop.sending or not all(accepted.terminal for accepted in shop.accepted()):
        if time.monotonic() > deadline:
            return
        time.sleep(0.2)


def _finish(world: World, shop: Shop, tag: str) -> list[float]:
    with world.database() as connection:
        rows = connection.execute(
            "SELECT extract(epoch FROM coalesce(finished_at, now()) - created_at)::float8 FROM processing_request "
            "WHERE idempotency_key LIKE %s ORDER BY idempotency_key",
            [f"{tag}-%"],
        ).fetchall()
    for request_id in shop.ids():
        shop.insist("DELETE", f"/v1/requests/{request_id}")
    assert len(rows) == REQUESTS, f"{len(rows)} of {REQUESTS} requests were accepted"
    return [row[0] for row in rows]
