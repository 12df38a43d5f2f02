"""A URL taken apart and judged by its form: scheme, user info, host and port."""

from dataclasses import dataclass

import httpx

from shared.errors import BlockedUrl

# The ports browsers refuse (Fetch standard, "port blocking"): no picture a browser can show lives there, but mail
# servers and the like do, which must not be spoken to in somebody else's name.
# fmt: off
REFUSED_PORTS = frozenset((
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
    110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531,
    532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060,
    5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
))
# fmt: on
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. `host` has no brackets; `url` is normalised and has no fragment."""

    url: httpx.URL
    scheme: str
    host: str
    port: int

    @property
    def place(self) -> tuple[str, str, int]:
        """What connections are shared by."""
        return (self.scheme, self.host, self.port)

    @property
    def host_and_port(self) -> str:
        """As written in `fetch_allow`; an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_target(url: str | httpx.URL) -> Target:
    """Raises BlockedUrl for anything that is not a plain http or https URL."""
    try:
        parsed = httpx.URL(url)
        parsed = parsed.copy_with(fragment=None) if parsed.fragment else parsed
        host, port = parsed.raw_host.decode("ascii"), parsed.port
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise BlockedUrl("This is not a valid URL.") from error
    if parsed.scheme not in DEFAULT_PORTS:
        raise BlockedUrl("Only http and https URLs are fetched.")
    if parsed.userinfo:
        raise BlockedUrl("URLs with a user name or password are not fetched.")
    if not host or not (port is None or 0 <= port <= 65535):
        raise BlockedUrl("The URL has no valid host and port.")
    return Target(parsed, parsed.scheme, host, DEFAULT_PORTS[parsed.scheme] if port is None else port)
