"""One run: requests are sent, faults come and go, all heals, and then everything must be as promised."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from sched import scheduler

import psycopg
import redis

from tests.chaos import audit, drained
from tests.chaos.faults import Fault, Skipped
from tests.chaos.hooks import check_hooks
from tests.chaos.invariants import Violation, check_blobs, check_order, check_rows, requests_of
from tests.chaos.load import REQUESTS, orders
from tests.chaos.shop import Shop
from tests.chaos.system import System

LOAD_SECONDS = 6.0
SETTLED_WITHIN = 300.0
DRAINED_WITHIN = 90.0


@dataclass(slots=True)
class Result:
    """The outcome of a run."""

    seed: int
    faults: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    requests: int = 0
    images: int = 0
    posts: int = 0
    answers: dict[int, int] = field(default_factory=dict)
    settled_after: float = 0.0
    seconds: float = 0.0
    violations: list[Violation] = field(default_factory=list)


class Run:
    """A seed's run against a system. `tag` is in its idempotency keys and URLs; `seconds` is how long orders come."""

    def __init__(
        self,
        system: System,
        seed: int,
        faults: Sequence[Fault],
        *,
        seconds: float = LOAD_SECONDS,
        requests: int = REQUESTS,
    ) -> None:
        self.system = system
        self.seconds = seconds
        self.result = Result(seed)
        self.tag = f"seed{seed}x{time.time_ns() % 10**9}"
        self._orders = orders(seed, self.tag, system.shelf, seconds=seconds, requests=requests)
        self._faults = faults
        self._random = Random(f"when {seed}")
        self._shop = Shop(system.base_url, system.hooks, key=system.key)

    def run(self) -> Result:
        """All of it; violations are in the result."""
        begun = time.monotonic()
        try:
            self._shop.open(self._orders)
            self._break()
            healed = time.monotonic()
            self._shop.wait(within=SETTLED_WITHIN)
            self._retry_failed()
            self.result.settled_after = time.monotonic() - healed
            self._until_quiet("every_delivery_ends", self._pending_deliveries)
            self._until_quiet("queues_drain", self._left_behind)
            self._check()
            self._forget()
        finally:
            self._shop.close()
        self.result.seconds = time.monotonic() - begun
        return self.result

    def _break(self) -> None:
        """The faults begin within the load, at random; some overlap. Whatever happens, each is ended."""
        plan = scheduler()
        with ExitStack() as heals:
            for fault in self._faults:
                plan.enter(self._random.uniform(0.5, self.seconds), 0, self._begin, (fault, plan, heals))
            plan.run()

    def _begin(self, fault: Fault, plan: scheduler, heals: ExitStack) -> None:
        seconds = self._random.uniform(*fault.seconds)
        try:
            heal = fault.begin(self.system, self._random)
        except Skipped as reason:
            self.result.skipped.append(f"{fault.name}: {reason}")
            return
        self.result.faults.append(fault.name)
        heals.callback(heal)  # healing twice does no harm
        plan.enter(seconds, 0, heal)

    def _retry_failed(self) -> None:
        """One of the requests with failed images runs again: a second event, and the same end."""
        failed = [a for a in self._shop.accepted() if a.status != "cancelled" and any(a.order.expected.values())]
        if failed and self.result.seed % 2:
            self._shop.retry(self._random.choice(failed))
            self._shop.wait(within=SETTLED_WITHIN)

    def _until_quiet(self, invariant: str, left: Callable[[], Iterator[str]]) -> None:
        deadline = time.monotonic() + DRAINED_WITHIN
        while found := list(left()):
            if time.monotonic() > deadline:
                self.result.violations += [Violation(invariant, details) for details in found]
                return
            time.sleep(0.5)

    def _pending_deliveries(self) -> Iterator[str]:
        """A schedule of 24 hours is not what these runs are about: a retry that is far off is due now."""
        try:
            with self.system.database() as connection:
                connection.execute(_HURRY)
                for row in connection.execute("SELECT id, attempt FROM delivery WHERE status = 'pending'"):
                    yield f"delivery {row[0]} is pending after {row[1]} attempts"
        except psycopg.Error as error:
            yield f"the database does not answer: {error}"

    def _left_behind(self) -> Iterator[str]:
        try:
            with self.system.redis() as client:
                yield from drained.messages(client)
            with self.system.database() as connection:
                yield from drained.database(connection)
            # A process that was killed cannot delete its files, and one that found the disk full may be mid-way.
            killed = any(fault.kills for fault in self._faults)
            yield from drained.temporary(self.system.blobs, self.system.temporary, kept=killed)
            for name, now in self.system.resources().items():
                for more in drained.excess(now, self.system.base.get(name, now)):
                    yield f"{name}: {more}"
        except (psycopg.Error, redis.RedisError, OSError) as error:
            yield f"a server does not answer: {error}"

    def _check(self) -> None:
        accepted = self._shop.accepted()
        found = self.result.violations
        found += [Violation("no_order_is_given_up", details) for details in self._shop.gave_up]
        found += [Violation("never_seen", f"{a.request_id}: {what}") for a in accepted for what in a.seen]
        found += [Violation("no_5xx_but_503_with_retry_after", answer) for answer in self._shop.unexcused]
        self.result.answers = dict(sorted(self._shop.answers.items()))
        if self._shop.answers[503] and not any(fault.outage for fault in self._faults):
            found.append(Violation("no_503_while_a_replica_is_there", f"{self._shop.answers[503]} answers"))
        with self.system.database() as connection:
            ids = requests_of(connection, self.tag)
            if sorted(ids) != sorted(one.request_id for one in accepted):
                # Repeating a call whose answer was lost gives the same request, and every order one.
                found.append(Violation("one_request_a_key", f"{len(ids)} requests for {len(accepted)} orders"))
            found += check_rows(connection, ids)
            found += check_blobs(connection, self.system.blobs, ids)
            for one in accepted:
                found += check_order(connection, one)
            posts = [post for post in self.system.receiver.arrivals if post.event["data"]["request_id"] in ids]
            found += check_hooks(connection, posts, ids)
            found += [Violation("never_in_the_database", what) for what in audit.breaches(connection, ids)]
        self.result.requests, self.result.posts = len(ids), len(posts)
        self.result.images = sum(len(one.order.expected) for one in accepted)

    def _forget(self) -> None:
        """DELETE what was checked: rows and files go, and the small disk stays small enough."""
        for accepted in self._shop.accepted():
            status, _ = self._shop.insist("DELETE", f"/v1/requests/{accepted.request_id}")
            if status not in (200, 404) or (self.system.blobs / accepted.request_id).exists():
                self.result.violations.append(
                    Violation("delete_takes_all", f"{accepted.request_id}: {status}, or files are left")
                )


_HURRY = """
UPDATE delivery d SET next_attempt_at = now(), enqueued_at = NULL
WHERE status = 'pending' AND next_attempt_at > now() + interval '6 s' AND NOT EXISTS (
    SELECT 1 FROM delivery_attempt a WHERE a.delivery_id = d.id AND a.number = d.attempt AND a.error = 'never reported')
"""
