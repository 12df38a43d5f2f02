"""The guard: from a URL to addresses that may be dialled, or BlockedUrl.

The addresses it returns are the ones to dial. Asking the resolver again afterwards would let a name change its mind
between the check and the call (DNS rebinding).
"""

from collections.abc import Iterable

from shared.addresses import Address, is_public, literal_address
from shared.egress.deadline import Deadline
from shared.egress.resolve import Resolver
from shared.egress.target import REFUSED_PORTS, Target, parse_target
from shared.errors import BlockedUrl


class Guard:
    """`allow` names `host:port` pairs, spelled as in the URL, that are let through unchecked (demo and tests)."""

    def __init__(self, allow: Iterable[str]) -> None:
        self._allow = frozenset(pair.strip().lower() for pair in allow)
        self._resolver = Resolver()

    def check_form(self, target: Target) -> None:
        """What can be said without asking a name server."""
        if self._lets_through(target):
            return
        if target.port in REFUSED_PORTS:
            raise BlockedUrl(f"Port {target.port} is not a port for web servers.")
        literal = literal_address(target.host)
        if literal and not is_public(literal):
            raise _not_public(target)

    def addresses(self, target: Target, *, seconds: float, total: Deadline) -> tuple[Address, ...]:
        """Checked addresses, best first. One refused address spoils the name: it answers differently to others."""
        self.check_form(target)
        literal = literal_address(target.host)
        found = (literal,) if literal else self._resolver.addresses(target.host, seconds=seconds, total=total)
        if not self._lets_through(target) and not all(is_public(address) for address in found):
            raise _not_public(target)
        return found

    def _lets_through(self, target: Target) -> bool:
        return target.host_and_port in self._allow


def check_url(url: str, *, allow: Iterable[str]) -> None:
    """Raises BlockedUrl for a URL whose form alone, or whose literal address, is refused; names are not looked up."""
    Guard(allow).check_form(parse_target(url))


def _not_public(target: Target) -> BlockedUrl:
    return BlockedUrl(f"The address of {target.host} is not public.")
