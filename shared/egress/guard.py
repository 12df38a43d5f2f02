"""From a target to the addresses that may be dialled, or BlockedUrl.

Dial these and never look the name up again: it could resolve to another address between check and call (DNS rebinding).
"""

from collections.abc import Iterable

from shared.addresses import Address, is_public
from shared.egress.connection import Deadline
from shared.egress.resolver import Resolver
from shared.errors import BlockedUrl
from shared.urls import Target, allowed_pair


class Guard:
    """`allow` lists `host:port` pairs that are let through unchecked (demo and tests)."""

    def __init__(self, allow: Iterable[str]) -> None:
        self._allow = frozenset(allowed_pair(pair) for pair in allow)
        self._resolver = Resolver()

    def addresses(self, target: Target, *, seconds: float, total: Deadline) -> tuple[Address, ...]:
        """Checked addresses, best first.

        One refused address blocks the name: its name server decides which one the next lookup returns.
        """
        if reason := target.blocked(self._allow):
            raise BlockedUrl(reason)
        if target.address:
            return (target.address,)
        found = self._resolver.addresses(target.host, seconds=seconds, total=total)
        if target.host_port not in self._allow and not all(is_public(address) for address in found):
            raise BlockedUrl(f"The address of {target.host} is not public.")
        return found
