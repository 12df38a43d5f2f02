"""The one judge of http(s) URLs: image URLs, webhook URLs, redirects and the allow-list are all read by `Target`.

No name is looked up here. Where a name leads is judged when it is dialled (`shared/egress/client.py`).
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from urllib.parse import quote, urljoin

import idna

from shared.addresses import Address, is_link_local, is_public

MAX_LENGTH = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}
# Besides those that `HALFTONE_FETCH_ALLOW` names: what else listens on a public host (mail, databases, consoles) is not
# for strangers to reach through us.
WEB_PORTS = frozenset(DEFAULT_PORTS.values())
REFUSED = (
    "The URL, or one that it redirects to, does not lead to a public web server: http or https on port 80 or 443, "
    "never from https to http, and a host that exists and has public addresses only."
)
"""The one answer to every URL that the guard refuses. It must not tell what there is inside: a name that only our own
network knows and a name that does not exist are answered alike."""

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
# `.internal`): no public name server knows any of these.
_LOCAL_NAME = re.compile(r"[^.]*|(?:.*\.)?(?:localhost|local|internal|home\.arpa)")
# A resolver reads a name that ends in a number as an address (`1.1`, `0x08.8.8.8`, `2130706433`), each in its own way.
_NUMBER = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?")
_PATH_SAFE = "!$%&'()*+,/:;=@[]^|"
_QUERY_SAFE = _PATH_SAFE + "?`{}"


class InvalidUrl(ValueError):
    """The text is not an http(s) URL. The message is a sentence for a person."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes, normalised.

    `host` is the name as DNS knows it (lower case, IDNA, no final dot) or an address without brackets, which `address`
    holds too. `path` is encoded and includes the query.
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

    @property
    def _may_be_public(self) -> bool:
        if self.address:
            return is_public(self.address)
        return not (_LOCAL_NAME.fullmatch(self.host) or _NUMBER.fullmatch(self.host))

    def blocked(self, allow: Collection[str] = ()) -> str | None:
        """REFUSED if nothing may be sent here; None if nothing speaks against it as long as no name is looked up.

        `allow` holds the `host_port` of targets that are let through.
        """
        if self.address and is_link_local(self.address):
            return REFUSED
        if self.host_port in allow:
            return None
        return None if self.port in WEB_PORTS and self._may_be_public else REFUSED

    def is_own(self, public_url: str, allow: Collection[str] = ()) -> bool:
        """Whether our own API answers here: a webhook to it would let a stranger call it from the inside.

        It is every port of the public host but those that `allow` names for others. Other names of the same machine are
        not known here.
        """
        own = Target.parse(public_url)
        return self.host == own.host and (self.port == own.port or self.host_port not in allow)

    def join(self, reference: str) -> "Target":
        """Where a redirect leads. Forbidden characters are encoded, as browsers do.

        Raises InvalidUrl for a reference that is malformed or too long, or that leads from https to http.
        """
        try:
            encoded = _FORBIDDEN.sub(lambda found: quote(found[0]), reference[: MAX_LENGTH + 1])
            url = urljoin(self.url, encoded)
        except ValueError as error:  # urljoin's own
            raise InvalidUrl("The URL's host or port cannot be read.") from error
        if len(url) > MAX_LENGTH:
            raise InvalidUrl(f"The URL has more than {MAX_LENGTH} characters.")
        target = Target.parse(url)
        if (self.scheme, target.scheme) == ("https", "http"):
            raise InvalidUrl("The URL leads from https to http.")
        return target


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
    """One entry of the allow-list, normalised as `Target.host_port` is. Raises ValueError, with a text for a person."""
    if re.search(r"[/?#]", text) or not re.search(r":[0-9]+$", text):
        raise ValueError("must be host:port, or several with commas")
    try:
        target = Target.parse(f"http://{text}")
    except InvalidUrl:
        raise ValueError("must be host:port, or several with commas") from None
    if not target.address and _NUMBER.fullmatch(target.host):
        raise ValueError("must have IPv4 addresses like 192.0.2.1, and no other numbers for hosts")
    if target.address and is_link_local(target.address):
        raise ValueError(
            f"must not hold {target.host_port}: link-local addresses and the metadata services of clouds are refused, "
            "for they hand out a machine's credentials"
        )
    return target.host_port


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
    if not _NUMBER.fullmatch(name):
        return name, None
    if not text.isascii():
        raise InvalidUrl("The URL's host is not a valid name.")
    try:
        return text, IPv4Address(text)  # four decimal numbers and nothing else
    except ValueError:
        return text.lower(), None  # refused when it is judged, as a local name is


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
