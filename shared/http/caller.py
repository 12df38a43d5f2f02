"""The caller of an HTTP request: an account, known by the API key that came with it."""

from dataclasses import dataclass
from uuid import UUID

from starlette.requests import Request as HttpRequest

from shared.schemas.accounts import DEFAULT_ACCOUNT, NO_LIMITS, KeyScope, Limits

__all__ = ["WITHOUT_KEYS", "Caller", "KeyScope", "account_of", "caller_of"]


@dataclass(frozen=True, slots=True)
class Caller:
    """`key_id` is None where keys are off. `limits`: the account's own, without the defaults of the settings."""

    account_id: UUID
    key_id: str | None
    scopes: frozenset[KeyScope]
    limits: Limits = NO_LIMITS


WITHOUT_KEYS = Caller(DEFAULT_ACCOUNT, None, frozenset(KeyScope))
NOBODY = Caller(UUID(int=0), None, frozenset())
"""Where there are keys, who asks for what needs none: no account, so that nothing of one is found by mistake."""


def caller_of(http_request: HttpRequest) -> Caller:
    """The caller that authentication found; without API keys there is only one."""
    found = http_request.scope.get("caller", WITHOUT_KEYS)
    assert isinstance(found, Caller)
    return found


def account_of(http_request: HttpRequest) -> UUID:
    """The account that asks."""
    return caller_of(http_request).account_id
