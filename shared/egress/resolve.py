"""Names to addresses, within a time limit and remembered for a little while.

The trap: getaddrinfo cannot be interrupted. So it runs in a daemon thread that nobody waits for at exit; callers wait
for its result only as long as they want.
"""

import socket
import threading
import time
from concurrent.futures import Future
from ipaddress import ip_address

from shared.addresses import Address
from shared.errors import DnsFailure

KEEP_SECONDS = 30.0
KEEP_FAILURE_SECONDS = 3.0  # below the first retry (5 s), enough to spare a thousand images a thousand waits
KEEP_NAMES = 10_000
LOOKUPS_AT_ONCE = 64


def look_up(host: str) -> tuple[Address, ...]:
    """Every address of a name, in the system's order of preference."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    # A scope ("%eth0") makes an address link-local, which the guard refuses anyway.
    return tuple(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


class Resolver:
    """A small cache of lookups; everyone who asks for a name while it is being looked up shares the answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Future[tuple[Address, ...]]]] = {}
        self._free = threading.BoundedSemaphore(LOOKUPS_AT_ONCE)

    def addresses(self, host: str, *, seconds: float) -> tuple[Address, ...]:
        """Raises DnsFailure where there is no answer in time."""
        try:
            return self._lookup(host).result(seconds)
        except TimeoutError as error:
            raise DnsFailure(f"Looking up {host} took too long.") from error
        except (OSError, UnicodeError, ValueError) as error:
            raise DnsFailure(f"The name {host} has no address.") from error

    def _lookup(self, host: str) -> Future[tuple[Address, ...]]:
        with self._lock:
            until, answer = self._known.get(host, (0.0, None))
            if answer is None or until < time.monotonic():
                if len(self._known) >= KEEP_NAMES:
                    self._known.clear()
                answer = Future()
                self._known[host] = (float("inf"), answer)  # until it is answered
                self._start(host, answer)
            return answer

    def _start(self, host: str, answer: Future[tuple[Address, ...]]) -> None:
        if not self._free.acquire(blocking=False):
            del self._known[host]
            raise DnsFailure(f"Looking up {host} has to wait: too many names are being looked up.")
        try:
            threading.Thread(target=self._run, args=(host, answer), name="halftone-dns", daemon=True).start()
        except RuntimeError:  # no thread to be had: nobody would ever answer
            self._free.release()
            del self._known[host]
            raise

    def _run(self, host: str, answer: Future[tuple[Address, ...]]) -> None:
        keep = KEEP_SECONDS
        try:
            answer.set_result(look_up(host))
        except Exception as error:  # noqa: BLE001  handed to whoever asked
            keep = KEEP_FAILURE_SECONDS
            answer.set_exception(error)
        finally:
            self._free.release()
            with self._lock:
                if self._known.get(host, (0.0, None))[1] is answer:
                    self._known[host] = (time.monotonic() + keep, answer)
