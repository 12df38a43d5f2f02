"""A bound on the requests that a service answers at once: each holds a connection, memory and often a file."""

from collections import Counter
from enum import Enum, auto

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.http.paths import UPLOADS
from shared.http.problems import Problem

PROBES = ("/healthz", "/readyz", "/metrics")
CROWDED = Problem(
    503, "busy", "Too many requests at once; try again soon.", headers={"Retry-After": "5", "Connection": "close"}
)


class Kind(Enum):
    UPLOAD = auto()
    STREAM = auto()
    CALL = auto()


class AtOnce:
    """Turns away what comes while `limit` requests of its kind are under way.

    Uploads last as long as their senders like, event streams for hours: each kind is counted by itself, so that nobody
    who uploads or follows shuts out who cancels, deletes or asks.
    Probes are always answered: a busy service must not be restarted for being busy.
    """

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self.app = app
        self.limit = limit
        self._under_way = Counter[Kind]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        kind = _kind(scope)
        if self._under_way[kind] >= self.limit:
            await CROWDED.response()(scope, receive, send)
            return
        self._under_way[kind] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._under_way[kind] -= 1


def _kind(scope: Scope) -> Kind:
    if scope["method"] == "POST" and scope["path"] in UPLOADS:
        return Kind.UPLOAD
    return Kind.STREAM if scope["path"].endswith("/events") else Kind.CALL
