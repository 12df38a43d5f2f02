"""Names to addresses, within a time limit and cached for a short while. All but the lookups runs on the loop's thread.

The trap: getaddrinfo cannot be interrupted. It runs in a daemon thread, and a caller stops waiting when its time is up;
the lookup itself goes on for 10 to 30 s. So `Resolver` limits how many can hang at a time, in all and for each domain.
"""

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address

from shared.addresses import Address, is_link_local, is_public
from shared.egress.connection import Deadline
from shared.errors import DnsFailure, FetchTimeout
from shared.urls import REFUSED

KEEP_SECONDS = 30.0
KEEP_FAILURE_SECONDS = 3.0  # below the first retry (5 s), but a thousand images of one name do not wait one by one
KEEP_NAMES = 10_000
LOOKUPS_AT_ONCE = 512
LOOKUPS_PER_DOMAIN = 16

MAX_ADDRESSES = 16


@dataclass(frozen=True, slots=True)
class Found:
    """A name's addresses, best first: at most MAX_ADDRESSES, but all that the name has are judged."""

    addresses: tuple[Address, ...]
    are_public: bool
    are_link_local: bool
    """Whether at least one of them is."""

    @classmethod
    def judge(cls, addresses: tuple[Address, ...]) -> "Found":
        """Once for each lookup, on its thread: a name may have thousands."""
        return cls(addresses[:MAX_ADDRESSES], all(map(is_public, addresses)), any(map(is_link_local, addresses)))


def look_up(host: str) -> tuple[Address, ...]:
    """Every address of a name, in the system's order of preference."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    # A scope ("%eth0") makes an address link-local, which the guard refuses anyway.
    return tuple(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


def domain_of(host: str) -> str:
    """The registered domain, roughly: the last two labels, or three where the second is short (`co.uk`)."""
    labels = host.split(".")
    return ".".join(labels[-3:] if len(labels) > 2 and len(labels[-2]) <= 3 else labels[-2:])


@dataclass(slots=True)
class _Lookup:
    """One call of `look_up`, running or answered; its answer is cached until `until`."""

    ended: asyncio.Event = field(default_factory=asyncio.Event)
    began: float = field(default_factory=time.monotonic)
    until: float = float("inf")
    answer: Found | Exception | None = None


class Resolver:
    """A small cache of lookups; callers that ask for a name while it is being looked up share the answer.

    Each domain may have a few lookups running, so that silent name servers delay only the names of their own domain.
    Many such domains are limited by our callers: each new name that hangs costs one of them its full timeout (5 s), so
    256 fetches at a time (16 threads, 16 images each; 192 of one account) have 512 lookups hanging, all that there may
    be, if the system gives up after 10 s. If it takes longer, names of others have to wait.
    """

    def __init__(self) -> None:
        self._change = asyncio.Event()  # a lookup has ended; another event then takes its place
        self._known: dict[str, _Lookup] = {}
        self._running: Counter[str] = Counter()  # by domain

    async def addresses(self, host: str, *, seconds: float, total: Deadline) -> Found:
        """A lookup may take `seconds` once it is started, and may have to wait for free room until `total`.

        Raises DnsFailure if there is no answer (at once if a lookup of this name has been hanging for `seconds`), and
        FetchTimeout if there was no room to start one, or if `total` ended before: that says nothing about the name.
        """
        lookup = self._fresh(host) or await self._started(host, total)
        until = lookup.began + seconds
        if not lookup.ended.is_set():
            patience = min(until, total.at) - time.monotonic()
            with suppress(TimeoutError):
                await asyncio.wait_for(lookup.ended.wait(), max(0.0, patience))
        if not lookup.ended.is_set():
            took_too_long = DnsFailure if until <= total.at else FetchTimeout
            raise took_too_long(f"Looking up {host} took too long.")
        if isinstance(lookup.answer, OSError | UnicodeError | ValueError):
            raise DnsFailure(REFUSED) from lookup.answer
        if isinstance(lookup.answer, Exception):
            raise lookup.answer
        assert lookup.answer
        return lookup.answer

    def known(self, host: str) -> tuple[Address, ...]:
        """What is cached, without looking it up; may be called by any thread."""
        lookup = self._fresh(host)
        return lookup.answer.addresses if lookup and isinstance(lookup.answer, Found) else ()

    async def _started(self, host: str, total: Deadline) -> _Lookup:
        domain = domain_of(host)
        try:
            async with asyncio.timeout(total.left()):
                while not (self._fresh(host) or self._has_room(domain)):
                    await self._change.wait()
        except TimeoutError as error:
            raise FetchTimeout(f"Looking up {host} had to wait: too many names were being looked up.") from error
        return self._fresh(host) or self._start(host, domain)

    def _fresh(self, host: str) -> _Lookup | None:
        lookup = self._known.get(host)
        return lookup if lookup and time.monotonic() < lookup.until else None

    def _has_room(self, domain: str) -> bool:
        return self._running.total() < LOOKUPS_AT_ONCE and self._running[domain] < LOOKUPS_PER_DOMAIN

    def _start(self, host: str, domain: str) -> _Lookup:
        lookup = _Lookup()
        answered = partial(self._answered, lookup, domain)
        # If no thread can be started, this raises before anything has changed.
        threading.Thread(
            target=_run, args=(host, asyncio.get_running_loop(), answered), name="halftone-dns", daemon=True
        ).start()
        if len(self._known) >= KEEP_NAMES:
            self._known.clear()
        self._known[host] = lookup
        self._running[domain] += 1
        return lookup

    def _answered(self, lookup: _Lookup, domain: str, answer: Found | Exception) -> None:
        lookup.answer = answer
        # A name that leads inside is kept as long as one that does not exist: how long an answer takes tells neither.
        is_good = isinstance(answer, Found) and answer.are_public
        lookup.until = time.monotonic() + (KEEP_SECONDS if is_good else KEEP_FAILURE_SECONDS)
        lookup.ended.set()
        self._running[domain] -= 1
        if not self._running[domain]:
            del self._running[domain]
        self._change.set()
        self._change = asyncio.Event()


def _run(host: str, loop: asyncio.AbstractEventLoop, answered: Callable[[Found | Exception], None]) -> None:
    answer: Found | Exception
    try:
        answer = Found.judge(look_up(host))
    except Exception as error:  # noqa: BLE001  raised again in the callers
        answer = error
    with suppress(RuntimeError):  # the loop has stopped
        loop.call_soon_threadsafe(answered, answer)
