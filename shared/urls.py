"""The one judge of http(s) URLs: image URLs, webhook URLs, redirects and the allow-list are all read by `Target`.

No name is looked up here. Where a name leads is judged when it is dialled (`shared/egress/client.py`).
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address
from urllib.parse import quote, urljoin

import idna

from shared.addresses import Address, is_public, parse_ipv4

MAX_LENGTH = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}
# The ports that browsers refuse (Fetch standard, "port blocking"): no picture that a browser can show is served there,
# but mail servers and the like are, and a user must not make us talk to those.
# fmt: off
REFUSED_PORTS = frozenset((
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
    111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532,
    540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061,
    6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
))
# fmt: on

# Nearly every origin in a manifest looks like this, and is well formed; only the others are parsed.
_PLAIN_ORIGIN = re.compile(
    r"https?://(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.){1,9}[a-z]{2,24}", re.IGNORECASE | re.ASCII
)
_PLAIN_PATH = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~%!$&'()*+,;=:@/?-"
_FORBIDDEN = re.compile(
    r'[\x00-\x20\x7f-\xa0\\"<>\u1680\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff\ud800-\udfff]'
)
_URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.IGNORECASE | re.ASCII)
_AUTHORITY = re.compile(r"(\[[^\]]*\]|[^:]*)(?::([0-9]{0,5}))?")
_LABEL = re.compile(r"[a-z0-9_-]{1,63}")
# A name without a dot, one reserved for a machine or a private network (RFC 6761, RFC 6762, RFC 8375, ICANN's
# `.internal`), or one that ends in a number without being an address: no public name server knows any of these.
_LOCAL_NAME = re.compile(r"[^.]*|(?:.*\.)?(?:localhost|local|internal|home\.arpa|[0-9]+|0x[0-9a-f]*)")
_PATH_SAFE = "!$%&'()*+,/:;=@[]^|"
_QUERY_SAFE = _PATH_SAFE + "?`{}"


class InvalidUrl(ValueError):
    """The text is not an http(s) URL. The message is a sentence for a person."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes, normalised.

    `host` is the name as DNS knows it (lower case, IDNA, no final dot) or an address without brackets; `address` is set
    for an address in any spelling that a resolver takes (`127.1`, `0x7f.1`). `path` is encoded and includes the query.
    """

    scheme: str
    host: str
    port: int
    path: str
    address: Address | None

    @classmethod
    def parse(cls, url: str) -> "Target":
        """Raises InvalidUrl for anything but a well-formed http or https URL without user info."""
        if _FORBIDDEN.search(url):
            raise InvalidUrl("The URL contains a control character, space, backslash, quote, < or >.")
        found = _URL.fullmatch(url)
        if not found:
            raise InvalidUrl("The URL must begin with http:// or https://.")
        scheme, authority, path, query = found[1].lower(), found[2], found[3], found[4] or ""
        if "@" in authority:
            raise InvalidUrl("The URL must not contain a user name or password.")
        host, port = _split_authority(authority)
        name, address = _read_host(host)
        path = quote(_without_dot_segments(path), safe=_PATH_SAFE) + quote(query, safe=_QUERY_SAFE)
        return cls(scheme, name, DEFAULT_PORTS[scheme] if port is None else port, path, address)

    @property
    def host_port(self) -> str:
        """The form in which the allow-list (`HALFTONE_FETCH_ALLOW`) names the target; an IPv6 address in brackets."""
        return f"{self._bracketed}:{self.port}"

    @property
    def netloc(self) -> str:
        """The `Host` header: the port is left out if it is the scheme's default."""
        return self._bracketed if self.port == DEFAULT_PORTS[self.scheme] else self.host_port

    @property
    def origin(self) -> tuple[str, str, int]:
        """Targets of one origin can share a connection."""
        return (self.scheme, self.host, self.port)

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}"

    @property
    def _bracketed(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    def blocked(self, allow: Collection[str] = ()) -> str | None:
        """Why nothing may be sent here, as far as it can be judged without a lookup; None if nothing speaks against it.

        `allow` holds the `host_port` of targets that are let through.
        """
        if self.host_port in allow:
            return None
        if self.port in REFUSED_PORTS:
            return f"Port {self.port} is not a port for web servers."
        if self.address:
            return None if is_public(self.address) else f"The address of {self.host} is not public."
        return f"The name {self.host} is not public." if _LOCAL_NAME.fullmatch(self.host) else None

    def join(self, reference: str) -> "Target":
        """Where a redirect leads. Forbidden characters are encoded, as browsers do. Raises InvalidUrl."""
        try:
            encoded = _FORBIDDEN.sub(lambda found: quote(found[0]), reference)
            return Target.parse(urljoin(self.url, encoded))
        except InvalidUrl:
            raise
        except ValueError as error:  # urljoin's own
            raise InvalidUrl("The URL's host or port cannot be read.") from error


def refusal(url: str, *, max_length: int = MAX_LENGTH) -> str | None:
    """Why the URL is refused by its length or form, as a sentence for a person; None if it is well formed."""
    if len(url) > max_length:
        return f"The URL has {len(url)} characters; at most {max_length} are allowed."
    if are_plain((url,)):
        return None
    try:
        Target.parse(url)
    except InvalidUrl as error:
        return str(error)
    return None


def are_plain(urls: Sequence[str]) -> bool:
    """Whether all are well formed at a first glance; only the others need `refusal`. The caller bounds their length.

    Judged together, because a manifest has a million: which characters there are, and each distinct origin once. After
    an origin that is well formed, no text of plain characters is refused.
    """
    try:
        if "".join(urls).encode().translate(None, _PLAIN_PATH):
            return False
        origins = {url[: url.index("/", 8)] for url in urls}  # after `http://` and a name, or after `https://`
    except ValueError:  # no path
        return False
    return all(map(_is_origin, origins))


def host_of(url: str) -> str:
    """`Target.host_port`, parsed once for each origin; empty for what is no URL."""
    end = url.find("/", 8)  # after `http://` and a name, or after `https://`
    return _host_of(url if end < 0 else url[:end])


@lru_cache(maxsize=1024)
def _host_of(origin: str) -> str:
    try:
        return Target.parse(origin).host_port
    except InvalidUrl:
        return ""


@lru_cache(maxsize=1024)  # a manifest names few hosts
def _is_origin(origin: str) -> bool:
    """Whether a URL may begin with this and a slash."""
    if _PLAIN_ORIGIN.fullmatch(origin):
        return True
    try:
        Target.parse(f"{origin}/")
    except InvalidUrl:
        return False
    return True


def allowed_pair(text: str) -> str:
    """One entry of the allow-list, normalised as `Target.host_port` is. Raises ValueError."""
    if re.search(r"[/?#]", text) or not re.search(r":[0-9]+$", text):
        raise ValueError("not host:port")
    return Target.parse(f"http://{text}").host_port


def _split_authority(authority: str) -> tuple[str, int | None]:
    found = _AUTHORITY.fullmatch(authority)
    if not found:
        raise InvalidUrl("The URL's host or port cannot be read.")
    port = int(found[2]) if found[2] else None
    if port is not None and not 1 <= port <= 65535:
        raise InvalidUrl("The URL's port must be between 1 and 65535.")
    return found[1], port


def _read_host(text: str) -> tuple[str, Address | None]:
    if not text:
        raise InvalidUrl("The URL has no host.")
    if text.startswith("["):
        ipv6 = _read_ipv6(text[1:-1])
        return str(ipv6), ipv6
    name = _ascii_name(text)
    ipv4 = parse_ipv4(name)
    return (str(ipv4), ipv4) if ipv4 else (name, None)


def _read_ipv6(text: str) -> IPv6Address:
    try:
        address = IPv6Address(text)
    except ValueError:
        address = None
    if address is None or address.scope_id:
        raise InvalidUrl("The URL's host is not a valid IPv6 address.")
    return address


def _ascii_name(host: str) -> str:
    """As browsers do it (UTS 46): `faß.de` is not `fass.de`, and emoji are allowed. Strict IDNA 2008 refuses those."""
    try:
        name = idna.uts46_remap(host, std3_rules=False).removesuffix(".")
        encoded = ".".join(_ascii_label(label) for label in name.split("."))
    except UnicodeError:  # idna's errors too
        encoded = ""
    if len(encoded) > 253 or not all(_LABEL.fullmatch(label) for label in encoded.split(".")):
        raise InvalidUrl("The URL's host is not a valid name.")
    return encoded


def _ascii_label(label: str) -> str:
    """One that is too long is left as it is, and refused: encoding takes time to the square of its length."""
    return label if label.isascii() or len(label) > 63 else f"xn--{label.encode('punycode').decode()}"


def _without_dot_segments(path: str) -> str:
    """RFC 3986, section 5.2.4."""
    kept: list[str] = []
    for segment in path.split("/")[1:]:
        if segment == "..":
            kept[-1:] = []
        elif segment != ".":
            kept.append(segment)
    return "/" + "/".join(kept) + ("/" if kept and path.endswith(("/.", "/..")) else "")
