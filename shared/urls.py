"""What an http(s) URL may look like before anyone resolves or dials it: image URLs and webhook URLs alike.

Only the form is judged. Where the name leads is the business of `shared/egress.py`, except for a host that is itself an
address in any spelling a resolver would take (`127.1`, `0x7f.1`): `literal_address` finds it.
"""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

from shared import addresses
from shared.addresses import Address

MAX_LENGTH = 2048

# What nearly every URL looks like; a match needs no second look. Anything else goes through `_refusal`.
_PLAIN = re.compile(
    r"https?://(?=[^/]{1,253}/)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.){1,9}[a-z]{2,24}/[a-z0-9._~%!$&'()*+,;=:@/?-]*",
    re.IGNORECASE | re.ASCII,
)
_FORBIDDEN = re.compile(
    r'[\x00-\x20\x7f-\xa0\\"<>\u1680\u2000-\u200f\u2028-\u202f\u205f-\u2064\u3000\ufeff\ud800-\udfff]'
)
_HOST = re.compile(r"[a-z0-9._\-\u00a1-\U0010ffff]+", re.IGNORECASE)


def refusal(url: str, *, max_length: int = MAX_LENGTH) -> str | None:
    """Why the URL is refused by its form, as a sentence for a person; None if it is well formed."""
    if len(url) > max_length:
        return f"The URL has {len(url)} characters; at most {max_length} are allowed."
    return None if _PLAIN.fullmatch(url) else _refusal(url)


def _refusal(url: str) -> str | None:
    if _FORBIDDEN.search(url):
        return "The URL contains a character that no URL may have (control character, space, backslash, quote, < or >)."
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "The URL's host or port cannot be read."
    if parts.scheme not in ("http", "https") or not url[len(parts.scheme) :].startswith("://"):
        return "The URL must begin with http:// or https://."
    if "@" in parts.netloc:
        return "The URL must not contain a user name or password."
    if port == 0:
        return "The URL's port must be between 1 and 65535."
    return _host_refusal(parts)


def _host_refusal(parts: SplitResult) -> str | None:
    host = parts.hostname or ""
    if not host:
        return "The URL has no host."
    if parts.netloc.startswith("["):
        return None if _is_ipv6(host) else "The URL's host is not a valid IPv6 address."
    if not _HOST.fullmatch(host) or ascii_host(host) is None:
        return "The URL's host is not a valid name."
    return None


def _is_ipv6(host: str) -> bool:
    try:
        return ipaddress.IPv6Address(host).scope_id is None
    except ValueError:
        return False


def ascii_host(host: str) -> str | None:
    """The host as DNS knows it (lower case, IDNA, no trailing dot), or None if there is no such name."""
    name = host.removesuffix(".")
    try:
        encoded = name.encode("idna").decode("ascii").lower()
    except UnicodeError:  # an empty or too long label, or a character that no name may have
        return None
    return encoded if 0 < len(encoded) <= 253 and _HOST.fullmatch(encoded) else None


def literal_address(url: str) -> Address | None:
    """The address that a well-formed URL spells out instead of a name; `localhost` counts as 127.0.0.1 (RFC 6761)."""
    host = urlsplit(url).hostname or ""
    name = host if ":" in host else (ascii_host(host) or "")
    if name == "localhost" or name.endswith(".localhost"):
        return ipaddress.IPv4Address("127.0.0.1")
    return addresses.literal_address(name)


def host_port(url: str) -> str:
    """`host:port` of a well-formed URL, the port spelt out: the form in which `HALFTONE_FETCH_ALLOW` names it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    name = f"[{host}]" if ":" in host else (ascii_host(host) or host)
    return f"{name}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
