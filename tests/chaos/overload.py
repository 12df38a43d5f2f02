"""`python -m tests.chaos overload`: ten times the load that the stack can take, with keys.

What is accepted completes, the rest is refused with a date, reads stay quick, and no memory grows.
"""

import asyncio
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from statistics import median, quantiles
from typing import Any

import psycopg
import redis
import uvloop

from deploy.demo.pictures import draw
from services.ingest.accounts.quotas import set_limits
from shared.broker.queues import QUEUE
from shared.db import Database
from shared.schemas.accounts import Limits
from tests.bench.processes import CLIENT, Watched, machine_use, spent
from tests.chaos import audit, drained
from tests.chaos.crowd import Account, Book, Crowd
from tests.chaos.houses import GOOD, PICTURES, SLOW, Houses, houses
from tests.chaos.invariants import Violation, check_order, check_rows, requests_of
from tests.chaos.report import say, say_table
from tests.stack import Stack, keep_logs, own_folder, reserve_ports

SECONDS = 300
TIMES = 10
ENV = {
    "HALFTONE_AUTH": "required",
    "HALFTONE_HTTP_AT_ONCE": "100",
    "HALFTONE_LOCAL_FSYNC": "on",
    "HALFTONE_LOG_LEVEL": "warning",
}
MEASURED_IMAGES = 1_500
IMAGES = 100
"""Of an upload of a flood. Many small uploads would be ten times what ingest can take, not what the workers can."""
LIMITS = {
    "shop": Limits(uploads_per_minute=1_000, calls_per_second=200),
    "flood-1": Limits(open_requests=20, uploads_per_minute=100_000, calls_per_second=1_000),
    "flood-2": Limits(open_requests=20, uploads_per_minute=100_000),
    "flood-3": Limits(open_requests=20, uploads_per_minute=60),
    "flood-4": Limits(open_requests=20, uploads_per_minute=100_000, images_per_day=5_000),
    "slow": Limits(),
}
SHOPPERS, FOLLOWERS, GREEDY = 12, 8, 40
"""Greedy: the slow account's uploads, downloads and event streams, of each so many: more than its share of places."""
LONG, WIDE = 30_000, 6_000
"""Images of the slow account's requests: of one whose output.csv is more than the system's buffers hold (it is
cancelled), and of one that runs for long."""
READS_MEDIAN, SAMPLE_SECONDS = 0.2, 5.0
GROWTH, GROWTH_BYTES, BUFFERS = 1.25, 30_000_000, 150_000_000
"""Each role's memory in the last third of the load, against the most before: no more than this share or these bytes.
PostgreSQL touches its shared buffers (128 MB) little by little.
"""
VALKEY_BYTES = 64_000_000
DONE_WITHIN = 240.0
LATE_SECONDS = 5.0
"""After the load, in which what was on its way is accepted or not; its client is gone."""
Sample = dict[str, float]
Connection = psycopg.Connection[Any]


class Overload:
    """One run. `violations` are the promises that it broke."""

    def __init__(self, stack: Stack, seconds: float) -> None:
        self.violations: list[Violation] = []
        self._stack = stack
        self._seconds = seconds
        self._watched = Watched(stack)
        self._samples: list[Sample] = []
        self._cpu: Sample = {}
        self._tag = f"overload{time.time_ns() % 10**9}"
        self._redis = redis.Redis.from_url(stack.redis_url)

    async def run(self, ports: Sequence[int]) -> None:
        with psycopg.connect(self._stack.database_url, autocommit=True) as database:
            audit.install(database)
            bodies = [draw(f"{number}.jpg", (48, 48)) for number in range(10)]
            async with houses(ports, bodies) as others:
                crowd = Crowd(self._stack.port, self._tag, others.pictures, (others.good, others.slow), images=IMAGES)
                accounts = self._accounts()
                rate = await self._capacity(crowd, accounts["shop"], database)
                say(f"capacity: {rate:.0f} images a second")
                await self._load(crowd, accounts, rate)
                await self._completes(crowd.book, database)
                self._judge(crowd.book, others, database)
        self._report(crowd.book)

    def _accounts(self) -> dict[str, Account]:
        made = {}
        database = Database(self._stack.database_url, pool_size=1)
        with psycopg.connect(self._stack.database_url, autocommit=True) as connection:
            for number, (name, limits) in enumerate(LIMITS.items()):
                made[name] = Account(name, f"127.0.0.{31 + number}", self._stack.key(name))
                found = connection.execute("SELECT id FROM account WHERE name = %s", [name]).fetchone()
                assert found is not None
                database.transact(partial(set_limits, account=found[0], limits=limits))
        database.close()
        return made

    async def _capacity(self, crowd: Crowd, account: Account, database: Connection) -> float:
        """Images a second of one request alone, of the second such request."""
        seconds = 1.0
        async with crowd.wire(account) as wire:
            for _ in range(2):
                answer = await crowd.upload(wire, "measured", MEASURED_IMAGES, None)
                assert answer is not None
                assert answer.status == 202, answer
                begun = time.monotonic()
                await self._all_end(database, every=0.1)
                seconds = time.monotonic() - begun
        return MEASURED_IMAGES / seconds

    async def _load(self, crowd: Crowd, accounts: dict[str, Account], rate: float) -> None:
        floods = [account for name, account in accounts.items() if name.startswith("flood")]
        path = await self._long_path(crowd, accounts["slow"])
        before, begun = self._watched.cpu(), time.monotonic()
        with machine_use() as use:
            for account in floods:
                crowd.start(crowd.flood(account, TIMES * rate / len(floods)))
            for _ in range(SHOPPERS):
                crowd.start(crowd.shopper(accounts["shop"]))
            for _ in range(FOLLOWERS):
                crowd.start(crowd.follower(accounts["shop"], "shopper's events"))
            for _ in range(GREEDY):
                crowd.start(crowd.follower(accounts["slow"], "slow account's events"))
                crowd.start(crowd.slow_upload(accounts["slow"]))
                crowd.start(crowd.unread_download(accounts["slow"], path))
            crowd.start(crowd.stranger(Account("stranger", "127.0.0.99", "")))
            while (passed := time.monotonic() - begun) < self._seconds:
                self._sample()
                await asyncio.sleep(min(SAMPLE_SECONDS, self._seconds - passed))
            await crowd.stop()
        seconds = time.monotonic() - begun
        self._cpu = spent(before, self._watched.cpu())
        say(f"{seconds:.0f} s of load: {crowd.book.offered / seconds / rate:.1f} times the capacity")
        share = self._cpu[CLIENT] / seconds
        say(f"the clients took {share:.0%} of a core, the stack {sum(self._cpu.values()) / seconds - share:.0%}; ")
        say(f"all cores of the machine were {use['busy']:.0%} busy")

    async def _long_path(self, crowd: Crowd, account: Account) -> str:
        async with crowd.wire(account) as wire:
            await crowd.upload(wire, "measured", LONG, None)
            path = f"/v1/requests/{crowd.book.accepted.pop().request_id}"
            await wire.call("POST", f"{path}/cancel")
            await crowd.upload(wire, "measured", WIDE, None)
        return f"{path}/output.csv"

    def _sample(self) -> None:
        queues = sum(self._redis.llen(f"{QUEUE}{queue}") for queue in drained.QUEUES)
        valkey: Any = self._redis.info("memory")
        sizes = {role: float(size) for role, size in self._watched.pss().items() if role != CLIENT}
        self._samples.append(sizes | {"valkey used_memory": float(valkey["used_memory"]), "messages": float(queues)})

    async def _completes(self, book: Book, database: Connection) -> None:
        """Everything that was accepted, also where the 202 was lost, and every webhook to the good receiver."""
        begun = time.monotonic()
        await asyncio.sleep(LATE_SECONDS)
        left = await self._all_end(database, every=1.0)
        kept = len(requests_of(database, self._tag))
        say(f"{kept} requests accepted, all terminal {time.monotonic() - begun:.0f} s after the load")
        self._break("accepted_completes", [f"{left} requests after {DONE_WITHIN:.0f} s"] if left else [])
        while (rows := database.execute(PENDING, [f"http://{GOOD}:%"]).fetchall()) and rows[0][0]:
            if time.monotonic() > begun + DONE_WITHIN:
                self._break("good_receivers_get_all", [f"{rows[0][0]} deliveries are pending"])
                return
            await asyncio.sleep(1)

    async def _all_end(self, database: Connection, *, every: float) -> int:
        """Wait until no request is open; how many still are after DONE_WITHIN seconds."""
        deadline = time.monotonic() + DONE_WITHIN
        while True:
            row = database.execute(OPEN, [f"{self._tag}-%"]).fetchone()
            left = int(row[0]) if row else 0
            if not left or time.monotonic() > deadline:
                return left
            await asyncio.sleep(every)

    def _judge(self, book: Book, others: Houses, database: Connection) -> None:
        for (rule, details), times in book.broken.items():
            self._break(rule, [f"{times} times {details}"])
        ids = requests_of(database, self._tag)
        known = {accepted.request_id for accepted in book.accepted}
        self._break("accepted_is_kept", known - set(ids))
        for begin in range(0, len(ids), BATCH):
            self.violations += check_rows(database, ids[begin : begin + BATCH])
        for accepted in book.accepted:
            self.violations += check_order(database, accepted)
        self._break("never_in_the_database", audit.breaches(database, ids))
        wanted = {str(row[0]) for row in database.execute(HOOKED, [list(ids), f"http://{GOOD}:%"])}
        self._break("receivers_ids_are_the_events", wanted ^ others.events.keys())
        if not book.reads or median(book.reads) > READS_MEDIAN:
            self._break("reads_stay_quick", [f"{len(book.reads)} reads, median {median(book.reads or [0]):.3f} s"])
        self._break("memory_is_bounded", self._growth())
        raised = [line for line in self._stack.log().splitlines() if "Traceback" in line]
        self._break("nothing_raises", raised[:3])
        restarts = {name: one["restarts"] for name, one in self._stack.state()["processes"].items() if one["restarts"]}
        self._break("nobody_dies", [f"{name} was started again {times} times" for name, times in restarts.items()])

    def _growth(self) -> Iterator[str]:
        third = len(self._samples) // 3
        for role in self._samples[-1]:
            values = [sample.get(role, 0.0) for sample in self._samples]
            early, late = max(values[: 2 * third] or values), max(values[2 * third :])
            if role == "messages":
                continue
            if late > max(early * GROWTH, early + (BUFFERS if role == "postgres" else GROWTH_BYTES)):
                yield f"{role}: {early / 1e6:.0f} MB, then {late / 1e6:.0f} MB"
            if role == "valkey used_memory" and late > VALKEY_BYTES:
                yield f"{role}: {late / 1e6:.0f} MB"

    def _break(self, rule: str, details: Iterable[str]) -> None:
        self.violations += [Violation(rule, one) for one in details]

    def _report(self, book: Book) -> None:
        say_table(
            "Answers", ("call", "answer", "times"), [(*key, times) for key, times in sorted(book.answers.items())]
        )
        say_table("Refusals", ("code", "times"), sorted(book.codes.items()))
        cuts = quantiles(book.reads, n=100) if len(book.reads) > 1 else [0.0] * 99
        half = len(book.reads) // 2
        halves = " and ".join(f"{median(part or [0]) * 1000:.0f} ms" for part in (book.reads[:half], book.reads[half:]))
        shown = f"median {cuts[49] * 1000:.0f} ms (halves: {halves}), p95 {cuts[94] * 1000:.0f} ms"
        say(f"\nstatus reads of shoppers: {len(book.reads)}, {shown}")
        say(f"shoppers refused and waiting: {book.unserved} times; images not sent, too many calls open: {book.unsent}")
        rows = []
        for role in self._samples[-1]:
            values = [sample.get(role, 0.0) / (1 if role == "messages" else 1e6) for sample in self._samples]
            rows.append(
                (role, *(f"{value:.0f}" for value in (values[0], values[len(values) // 2], max(values), values[-1])))
            )
        say_table("CPU seconds", ("of", "s"), [(role, f"{value:.1f}") for role, value in self._cpu.items()])
        say_table("PSS in MB, and messages in the queues", ("of", "at first", "middle", "most", "at last"), rows)
        broken = Counter((one.invariant, one.details) for one in self.violations)
        say_table("Promises broken", ("promise", "details"), list(broken)[:40])
        say(f"\n{len(self.violations)} violations")


OPEN = "SELECT count(*) FROM processing_request WHERE idempotency_key LIKE %s AND finished_at IS NULL"
PENDING = "SELECT count(*) FROM delivery WHERE status = 'pending' AND url LIKE %s"
HOOKED = """
SELECT e.id FROM event e JOIN processing_request r ON r.id = e.request_id
WHERE r.id = ANY(%s::uuid[]) AND r.webhook_url LIKE %s
"""
BATCH = 20
"""Requests checked at a time: the checks compare every row with every request."""


def measure_overload(seconds: float) -> int:
    """Run it on a stack of its own, print the tables; the exit status. The logs stay in `.test/last-overload`."""
    folder = own_folder()
    ports = reserve_ports(3)
    places = [f"{address}:{port}" for address, port in zip((PICTURES, GOOD, SLOW), ports, strict=True)]
    with ExitStack() as ends:
        ends.callback(shutil.rmtree, folder, ignore_errors=True)
        ends.callback(keep_logs, folder, "last-overload")
        stack = ends.enter_context(Stack(folder / "stack", env=ENV | {"HALFTONE_FETCH_ALLOW": ",".join(places)}))
        overload = Overload(stack, seconds)
        uvloop.run(overload.run(ports))
        return 1 if overload.violations else 0
