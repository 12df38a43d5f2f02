"""Names to addresses, within a time limit and cached for a short while.

The trap: getaddrinfo cannot be interrupted. It runs in a daemon thread, and a caller stops waiting when its time is up;
the lookup itself goes on for 10 to 30 s. So `Resolver` limits how many can hang at a time, in all and for each domain.
"""

import socket
import threading
import time
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, field
from ipaddress import ip_address

from shared.addresses import Address
from shared.egress.connection import Deadline
from shared.errors import DnsFailure, FetchTimeout

KEEP_SECONDS = 30.0
KEEP_FAILURE_SECONDS = 3.0  # below the first retry (5 s), but a thousand images of one name do not wait one by one
KEEP_NAMES = 10_000
LOOKUPS_AT_ONCE = 256
LOOKUPS_PER_DOMAIN = 16


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

    answer: Future[tuple[Address, ...]] = field(default_factory=Future)
    began: float = field(default_factory=time.monotonic)
    until: float = float("inf")


class Resolver:
    """A small cache of lookups; callers that ask for a name while it is being looked up share the answer.

    Each domain may have a few lookups running, so that silent name servers delay only the names of their own domain.
    Many such domains are limited by our callers: each new name that hangs costs one of them its full timeout (5 s), so
    64 fetching threads have about 130 lookups hanging at a time if the system gives up after 10 s.
    """

    def __init__(self) -> None:
        self._ended = threading.Condition()
        self._known: dict[str, _Lookup] = {}
        self._running: Counter[str] = Counter()  # by domain

    def addresses(self, host: str, *, seconds: float, total: Deadline) -> tuple[Address, ...]:
        """A lookup may take `seconds` once it is started, and may have to wait for free room until `total`.

        Raises DnsFailure if there is no answer (at once if a lookup of this name has been hanging for `seconds`), and
        FetchTimeout if there was no room to start one, which says nothing about the name.
        """
        lookup = self._lookup(host, total)
        patience = min(lookup.began + seconds, total.at) - time.monotonic()
        try:
            return lookup.answer.result(max(0.0, patience))
        except TimeoutError as error:
            raise DnsFailure(f"Looking up {host} took too long.") from error
        except (OSError, UnicodeError, ValueError) as error:
            raise DnsFailure(f"The name {host} has no address.") from error

    def _lookup(self, host: str, total: Deadline) -> _Lookup:
        domain = domain_of(host)
        with self._ended:
            if not self._ended.wait_for(lambda: self._fresh(host) or self._has_room(domain), total.left()):
                raise FetchTimeout(f"Looking up {host} had to wait: too many names were being looked up.")
            return self._fresh(host) or self._start(host, domain)

    def _fresh(self, host: str) -> _Lookup | None:
        lookup = self._known.get(host)
        return lookup if lookup and time.monotonic() < lookup.until else None

    def _has_room(self, domain: str) -> bool:
        return self._running.total() < LOOKUPS_AT_ONCE and self._running[domain] < LOOKUPS_PER_DOMAIN

    def _start(self, host: str, domain: str) -> _Lookup:
        lookup = _Lookup()
        # If no thread can be started, this raises before anything has changed.
        threading.Thread(target=self._run, args=(host, domain, lookup), name="halftone-dns", daemon=True).start()
        if len(self._known) >= KEEP_NAMES:
            self._known.clear()
        self._known[host] = lookup
        self._running[domain] += 1
        return lookup

    def _run(self, host: str, domain: str, lookup: _Lookup) -> None:
        keep = KEEP_SECONDS
        try:
            lookup.answer.set_result(look_up(host))
        except Exception as error:  # noqa: BLE001  raised again in the callers
            keep = KEEP_FAILURE_SECONDS
            lookup.answer.set_exception(error)
        with self._ended:
            lookup.until = time.monotonic() + keep
            self._running[domain] -= 1
            if not self._running[domain]:
                del self._running[domain]
            self._ended.notify_all()
