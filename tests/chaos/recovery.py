"""How much longer a request takes when one part breaks, against the same requests without a fault in the same world."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import median

from tests.chaos.faults import FAULTS, Fault
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

    @property
    def fault(self) -> Fault:
        return next(fault for fault in FAULTS if fault.name == self.name)

    def violations(self, extra: Sequence[float]) -> list[Violation]:
        return [
            Violation("recovery_is_in_time", f"{self.name}: {value:.1f} s extra, at most {limit:g} s are promised")
            for value, limit in ((median(extra), self.median), (max(extra), self.worst))
            if limit is not None and value > limit
        ]


SCENARIOS = (
    Scenario("kill worker", rounds=2, median=30, worst=150),
    Scenario("wipe valkey", rounds=2, worst=15),
    Scenario("kill postgres"),
    Scenario("drop take reply"),
)


def measure_recovery(world: World) -> list[Violation]:
    """Measure all scenarios, print the table, and return what took too long."""
    _times(world)  # the first time, all is cold
    base = _times(world)
    found, rows = [], []
    for scenario in SCENARIOS:
        rounds = [_times(world, scenario.fault, Random(number)) for number in range(scenario.rounds)]
        extra = [now - before for times in rounds for now, before in zip(times, base, strict=True)]
        say(f"  {scenario.name}: {', '.join(f'{seconds:.1f}' for seconds in extra)} s extra")
        found += scenario.violations(extra)
        seconds = [f"{value:.1f}" for value in (median(base), median(extra), max(extra))]
        rows.append((scenario.name, len(extra), *seconds, scenario.median or "-", scenario.worst or "-"))
    head = ("fault", "requests", "without fault", "median extra", "worst extra", "median promised", "worst promised")
    say_table("Recovery: extra seconds of a request", head, rows)
    return found


def _times(world: World, fault: Fault | None = None, random: Random | None = None) -> list[float]:
    """Seconds from acceptance to the end for each request, in the order in which they were sent."""
    tag = f"recovery{time.time_ns() % 10**9}"
    shop = Shop(world.stack.base_url, world.hooks)
    shop.open(_orders(world, tag))
    try:
        time.sleep(BREAK_AFTER)
        heal = fault.begin(world, random or Random()) if fault else None
        shop.wait(within=SETTLED_WITHIN)
        if heal:
            heal()
        return _finish(world, shop, tag)
    finally:
        shop.close()


def _orders(world: World, tag: str) -> list[Order]:
    random = Random(tag)
    made = []
    for number in range(REQUESTS):
        order = Order(f"{tag}-{number}", at=0.05 * number, hook=None)
        urls = [world.shelf.good(random, f"{order.key}-{row}") for row in range(IMAGES)]
        order.rows = [Row(f"{row}", "Product", [url]) for row, url in enumerate(urls)]
        made.append(order)
    return made


def _finish(world: World, shop: Shop, tag: str) -> list[float]:
    with world.database() as connection:
        rows = connection.execute(
            "SELECT extract(epoch FROM coalesce(finished_at, now()) - created_at)::float8 FROM processing_request "
            "WHERE idempotency_key LIKE %s ORDER BY idempotency_key",
            [f"{tag}-%"],
        ).fetchall()
    for accepted in shop.accepted():
        shop.insist("DELETE", f"/v1/requests/{accepted.request_id}")
    assert len(rows) == REQUESTS, f"{len(rows)} of {REQUESTS} requests were accepted"
    return [row[0] for row in rows]
