"""What an HTTP request asks for: whose, which request, which page, which status."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar
from uuid import UUID

from starlette.requests import Request as HttpRequest

from services.status import paging
from shared.blobs import Blobs
from shared.db import Database
from shared.http.booleans import parse_boolean
from shared.http.problems import Problem, not_found
from shared.ids import parse_id
from shared.schemas.tables import DEFAULT_ACCOUNT

T = TypeVar("T")
Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Where answers come from; made once in `app`."""

    database: Database
    blobs: Blobs
    public_url: str


def stores_of(http_request: HttpRequest) -> Stores:
    stores = http_request.app.state.stores
    assert isinstance(stores, Stores)
    return stores


def account_of(_http_request: HttpRequest) -> UUID:
    """The account that asks. There is one so far."""
    return DEFAULT_ACCOUNT


def request_id_of(http_request: HttpRequest) -> UUID:
    """The id in the path; a malformed one is as unknown as any other."""
    request_id = parse_id(http_request.path_params["request_id"])
    if request_id is None:
        raise not_found()
    return request_id


def number_of(http_request: HttpRequest) -> int:
    """The image number in the path."""
    text: str = http_request.path_params["number"]
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= paging.MAX_NUMBER):
        raise not_found()
    return int(text)


def size_of(http_request: HttpRequest) -> int:
    return _parsed(paging.parse_size, http_request.query_params.get("page_size"))


def after_of(http_request: HttpRequest) -> int:
    """The number after which the page begins."""
    return _parsed(paging.parse_number_token, http_request.query_params.get("page_token"))


def before_of(http_request: HttpRequest) -> tuple[datetime, UUID] | None:
    """Time and id before which the page begins, where the newest comes first."""
    return _parsed(paging.parse_moment_token, http_request.query_params.get("page_token"))


def _parsed(parse: Callable[[str | None], T], text: str | None) -> T:
    try:
        return parse(text or None)
    except paging.BadPage as error:
        raise bad_parameter(str(error)) from None


def status_of(http_request: HttpRequest, kind: type[Choice]) -> Choice | None:
    """The `status` filter, None where there is none."""
    wanted = http_request.query_params.get("status")
    if not wanted:
        return None
    try:
        return kind(wanted)
    except ValueError:
        raise bad_parameter(f"status must be one of {', '.join(kind)}") from None


def boolean_of(http_request: HttpRequest, name: str) -> bool:
    """A query parameter that says yes or no; without it, no."""
    try:
        return parse_boolean(http_request.query_params.get(name, "no"))
    except ValueError as error:
        raise bad_parameter(f"{name} {error}") from None


def bad_parameter(detail: str) -> Problem:
    return Problem(400, "invalid_parameter", detail)
