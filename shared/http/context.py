"""What a call of an HTTP service works with, and what its parameters mean."""

from typing import TypeVar
from uuid import UUID

from starlette.requests import Request as HttpRequest

from shared import valkey
from shared.blobs.configured import open_store
from shared.db import Database
from shared.http.authentication import Keyring, LastUse
from shared.http.problems import not_found
from shared.ids import parse_id
from shared.settings import HttpSettings

BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
LOCK_TIMEOUT_MS = 2_000
"""A call that waits for a lock keeps a connection and a thread from all others."""

STORE_SECONDS = 5.0
"""A call that waits for a bucket keeps a thread from all others; a worker can wait for longer."""


class Context:
    """Made once in a service's `app` and kept as `app.state.context`; a service that needs more has a subclass.

    `keyring`: None where API keys are off.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self.settings = settings
        self.database = Database(
            settings.database_url, pool_size=settings.database_pool, lock_timeout_ms=LOCK_TIMEOUT_MS
        )
        self.blobs = open_store(settings, answer_seconds=STORE_SECONDS)
        self.keyring: Keyring | None = None
        if settings.auth == "required":
            self.keyring = Keyring(self.database.connect, LastUse(valkey.connect(settings.redis_url)))

    def close(self) -> None:
        self.database.close()


AnyContext = TypeVar("AnyContext", bound=Context)


def context_of(http_request: HttpRequest, kind: type[AnyContext]) -> AnyContext:
    """The context of the application that was called, which is of this `kind`."""
    context = http_request.app.state.context
    assert isinstance(context, kind)
    return context


def id_of(http_request: HttpRequest, what: str = "request") -> UUID:
    """The id of a request or a delivery, from the path.

    Raises:
        Problem: 404; a malformed id is as unknown as any other.

    """
    found = parse_id(http_request.path_params[f"{what}_id"])
    if found is None:
        raise not_found(what)
    return found


def parse_boolean(text: str) -> bool:
    """Raises ValueError for any other word, the empty one too: a bare `?validate_only` does not mean no."""
    word = text.strip().lower()
    if word not in BOOLEANS:
        raise ValueError(f"must be one of {', '.join(BOOLEANS)}")
    return BOOLEANS[word]
