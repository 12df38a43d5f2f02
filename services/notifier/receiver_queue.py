"""Shares the threads among webhook receivers; deliveries without a share wait in memory without holding a thread.

A receiver counts by its host, its address, its registrable domain and its account, so that it gains nothing by many
names. Those that answered slowly, and those that are not known yet, share a part of the threads each, of which an
account has half: receivers that answer quickly always have the rest. A delivery that is dropped here is still due in
the database: the sweeper sends it again.
"""

import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from threading import Event, Lock
from uuid import UUID

from publicsuffixlist import PublicSuffixList

from shared.urls import Target

MAX_WAITING = 2_000
"""Deliveries that wait for one share; more are dropped."""
MAX_MOVED = 32
"""How many waiting deliveries are tried when one has ended."""
MAX_KNOWN = 10_000
"""Hosts, and domains, whose answers are remembered."""
MAX_SECONDS = 60.0
"""How long a thread goes on with waiting deliveries: dead receivers with many must not hold all threads for ever."""
SLOW_SECONDS = 2.0
"""A receiver is slow if its answers take longer, on a moving average."""
WEIGHT = 0.25
"""Of the last answer in that average: one timeout makes a quick receiver slow, three quick answers undo it."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where a delivery goes, and whose it is. `domain` is None for an address."""

    host_port: str
    domain: str | None
    account: UUID
    address: str | None = None

    @classmethod
    def of(cls, target: Target, account: UUID, *, address: str | None) -> "Receiver":
        """`address`: where the name led when it was last looked up."""
        if target.address:
            return cls(target.host_port, None, account, str(target.address))
        return cls(target.host_port, _suffixes().privatesuffix(target.host) or target.host, account, address)


@dataclass(frozen=True, slots=True)
class Shares:
    """How many deliveries at once go to one host, domain, address or account, and to receivers of one kind.

    Of the 16 threads that deliver by default: 2 for a host, 3 for a domain or an address, 12 for an account, 6 for
    slow receivers and 6 for unknown ones, of which one account has 3 each; so 4 are left for quick ones, at least.
    """

    host: int
    threads: int

    def limit(self, kind: str) -> int:
        match kind:
            case "host":
                return self.host
            case "domain" | "address":
                return max(self.host, self.threads // 5)
            case "account":
                return max(1, self.threads * 3 // 4)
            case "unknown of account" | "slow of account":
                return (self.limit("unknown") + 1) // 2
        return max(1, self.threads * 3 // 8)


Share = tuple[str, object]
Work = Callable[[UUID], float | None]
"""Attempts a delivery; returns how many seconds the receiver took, None if it was not asked."""


class ReceiverQueue:
    """`run(receiver, id, work)` works now if all its shares have room, else queues `id` for the next thread that
    leaves the full one.

    Once `stop` is set, no more is taken from a queue.
    """

    def __init__(self, shares: Shares, stop: Event) -> None:
        self._shares = shares
        self._stop = stop
        self._lock = Lock()
        self._running: Counter[Share] = Counter()
        self._waiting: defaultdict[Share, OrderedDict[UUID, Receiver]] = defaultdict(OrderedDict)
        self._seconds: OrderedDict[str, float] = OrderedDict()  # of answers on average, by host and by domain

    def run(self, receiver: Receiver, delivery_id: UUID, work: Work) -> None:
        """Work on `delivery_id`, then for a while on deliveries that wait for a share that it had."""
        until = time.monotonic() + MAX_SECONDS
        with self._lock:
            taken = self._take(receiver, delivery_id)
        while taken is not None:
            seconds = None
            try:
                seconds = work(delivery_id)
            except BaseException:
                self._next(taken, leave=True)
                raise
            finally:
                self._remember(receiver, seconds)
            following = self._next(taken, leave=self._stop.is_set() or time.monotonic() >= until)
            if following is None:
                return
            receiver, delivery_id, taken = following

    def _take(self, receiver: Receiver, delivery_id: UUID) -> tuple[Share, ...] | None:
        """Its shares, each with one more running; None if one has no room: then it waits for that one."""
        shares = tuple(self._shares_of(receiver))
        for share in shares:
            if self._running[share] >= self._shares.limit(share[0]):
                waiting = self._waiting[share]
                if len(waiting) < MAX_WAITING:
                    waiting.setdefault(delivery_id, receiver)
                return None
        self._running.update(shares)
        return shares

    def _next(self, taken: tuple[Share, ...], *, leave: bool) -> tuple[Receiver, UUID, tuple[Share, ...]] | None:
        """Give the shares back; returns a waiting delivery that now has room, unless the thread is to leave."""
        with self._lock:
            self._running.subtract(taken)
            found = None if leave else next(self._following(taken), None)
            for share in taken:
                if not self._running[share]:  # no thread would come back for those that wait
                    del self._running[share]
                    self._waiting.pop(share, None)
            return found

    def _following(self, taken: tuple[Share, ...]) -> Iterator[tuple[Receiver, UUID, tuple[Share, ...]]]:
        """Deliveries that now have room. One that finds another of its shares full waits for that one from now on.

        Those that wait for a share of all accounts go before those that wait for the account's part of it.
        """
        for share in sorted(taken, key=lambda share: share[0].endswith(" of account")):
            waiting = self._waiting.get(share, OrderedDict())
            for _ in range(min(MAX_MOVED, len(waiting))):
                delivery_id, receiver = waiting.popitem(last=False)
                if shares := self._take(receiver, delivery_id):
                    yield receiver, delivery_id, shares

    def _shares_of(self, receiver: Receiver) -> Iterator[Share]:
        yield "host", receiver.host_port
        if receiver.address:
            yield "address", receiver.address
        if receiver.domain:
            yield "domain", receiver.domain
        yield "account", receiver.account
        seconds = self._seconds.get(receiver.host_port, self._seconds.get(receiver.domain or ""))
        if seconds is None or seconds > SLOW_SECONDS:
            kind = "unknown" if seconds is None else "slow"
            yield f"{kind} of account", receiver.account
            yield kind, None

    def _remember(self, receiver: Receiver, seconds: float | None) -> None:
        if seconds is None:
            return
        with self._lock:
            for name in filter(None, (receiver.host_port, receiver.domain)):
                before = self._seconds.pop(name, seconds)
                self._seconds[name] = before + WEIGHT * (seconds - before)
            while len(self._seconds) > MAX_KNOWN:
                self._seconds.popitem(last=False)


@cache
def _suffixes() -> PublicSuffixList:
    """The list that the package carries; it is never fetched."""
    return PublicSuffixList()
