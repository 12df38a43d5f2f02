"""A bound on the requests that a service answers at once: each holds a connection, memory and often a file."""

from collections import Counter

from starlette.types import ASGIApp, Receive, Scope, Send

from shared.problems import Problem

PROBES = ("/healthz", "/readyz", "/metrics")
CROWDED = Problem(
    503, "busy", "Too many requests at once; try again soon.", headers={"Retry-After": "5", "Connection": "close"}
)


class AtOnce:
    """Turns away what comes while `limit` requests are under way.

    Event streams last for hours and cost little: they are counted by themselves, so that followers shut nobody out.
    Probes are always answered: a busy service must not be restarted for being busy.
    """

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self.app = app
        self.limit = limit
        self._under_way = Counter[bool]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        lasting = scope["path"].endswith("/events")
        if self._under_way[lasting] >= self.limit:
            await CROWDED.response()(scope, receive, send)
            return
        self._under_way[lasting] += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._under_way[lasting] -= 1
