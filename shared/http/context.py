"""What the calls of an HTTP service work with, and the one place that knows who is asking."""

from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from starlette.requests import Request as HttpRequest

from shared.blobs import Blobs
from shared.db import Database
from shared.http.problems import not_found
from shared.ids import parse_id
from shared.schemas.tables import DEFAULT_ACCOUNT
from shared.settings import HttpSettings


@dataclass(frozen=True, kw_only=True)
class Context:
    """Made once in a service's `app` and kept as `app.state.context`; a service that needs more has a subclass."""

    settings: HttpSettings
    database: Database
    blobs: Blobs


AnyContext = TypeVar("AnyContext", bound=Context)


def context_of(http_request: HttpRequest, kind: type[AnyContext]) -> AnyContext:
    """The context of the application that was called, which is of this `kind`."""
    context = http_request.app.state.context
    assert isinstance(context, kind)
    return context


def account_of(_http_request: HttpRequest) -> UUID:
    """The account that asks. Without API keys there is only one."""
    return DEFAULT_ACCOUNT


def id_of(http_request: HttpRequest, what: str = "request") -> UUID:
    """The id of a request or a delivery, from the path.

    Raises:
        Problem: 404; a malformed id is as unknown as any other.

    """
    found = parse_id(http_request.path_params[f"{what}_id"])
    if found is None:
        raise not_found(what)
    return found
