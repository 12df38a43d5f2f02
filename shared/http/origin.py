"""Refuses calls that a browser makes for a page of another site.

A page may post a form to any address that its browser reaches, the loopback too, and a page that lets its own name lead
here (DNS rebinding) may read the answers as well. The browser says so in headers that no page can change: `Host` is the
name that the page called, `Origin` and `Sec-Fetch-Site` say where a write comes from. Programs send neither of the two.
"""

import re
from collections.abc import Collection
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.http.limits import PROBES
from shared.http.paths import READ
from shared.http.problems import Problem

OWN_SITE = {b"same-origin", b"none"}
"""Values of `Sec-Fetch-Site`: by our own page, or by the person (a bookmark, a reload). `same-site` may be any port."""
_AUTHORITY = re.compile(r"(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::[0-9]{0,5})?", re.IGNORECASE | re.ASCII)
UNKNOWN_HOST = (
    "This server is not known by the name in the Host header. Call it by its public address, or add the name to the "
    "setting HALFTONE_ALLOWED_HOSTS."
)
CROSS_SITE = "A page of another site may not write here; call from a program, or from a page of this server."


class AllowedHosts:
    """Answers 421 for a `Host` that is not one of `hosts`, and 403 for a write by a page that is not on one of them.

    `hosts` are names and addresses in lower case, without brackets and ports. Probes come by a container's own address.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str]) -> None:
        self.app = app
        self.hosts = frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refusal(scope) if scope["type"] == "http" else None
        await (self.app if refused is None else refused.response())(scope, receive, send)

    def _refusal(self, scope: Scope) -> Problem | None:
        sent: dict[bytes, list[bytes]] = {b"host": [], b"origin": [], b"sec-fetch-site": []}
        for name, value in scope["headers"]:
            if name in sent:
                sent[name].append(value)
        writes = scope["method"] not in READ
        if scope["path"] not in PROBES and not (len(sent[b"host"]) == 1 and self._is_known(sent[b"host"][0])):
            return Problem(421, "unknown_host", UNKNOWN_HOST)
        if writes and not (OWN_SITE.issuperset(sent[b"sec-fetch-site"]) and all(map(self._is_ours, sent[b"origin"]))):
            return Problem(403, "cross_site", CROSS_SITE)
        return None

    def _is_known(self, authority: bytes) -> bool:
        return host_of(authority) in self.hosts

    def _is_ours(self, origin: bytes) -> bool:
        """`null` (a sandboxed page, a local file) has no scheme, and is not ours."""
        scheme, _, authority = origin.partition(b"://")
        return scheme in {b"http", b"https"} and self._is_known(authority)


@lru_cache(256)
def host_of(authority: bytes) -> str | None:
    """The host in `host:port`, or None if it cannot be read."""
    found = _AUTHORITY.fullmatch(authority.decode("latin-1"))
    return (found[1] or found[2]).lower().removesuffix(".") if found else None
