"""What an HTTP request asks for: which request, which page, which status."""

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import TypeVar
from uuid import UUID

from starlette.requests import Request as HttpRequest

from services.status import paging
from services.status.images import ImageOrder
from services.status.queries import Found
from services.status.reader import RequestReader
from shared.http.authentication import KEY_ID
from shared.http.caller import account_of
from shared.http.context import id_of, parse_boolean
from shared.http.problems import Problem, not_found

T = TypeVar("T")
Choice = TypeVar("Choice", bound=StrEnum)


async def requested(http_request: HttpRequest) -> Found:
    """The request in the path.

    Raises:
        Problem: 404, also for another account's request.

    """
    account, request_id = account_of(http_request), id_of(http_request)
    reader: RequestReader = http_request.app.state.reader
    found = await reader.read(request_id)
    if found is None or found.request.account_id != account:
        raise not_found("request")
    return found


def number_of(http_request: HttpRequest) -> int:
    """The image number in the path."""
    text: str = http_request.path_params["number"]
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= paging.MAX_NUMBER):
        raise not_found("image")
    return int(text)


def size_of(http_request: HttpRequest) -> int:
    return _parsed(paging.parse_size, http_request.query_params.get("page_size"))


def after_of(http_request: HttpRequest) -> int:
    """The number after which the page begins."""
    return _parsed(paging.parse_number_token, http_request.query_params.get("page_token"))


def sort_of(http_request: HttpRequest) -> ImageOrder:
    """The order of a list of images; by number unless the call says otherwise."""
    return _choice(http_request, "sort", ImageOrder) or ImageOrder.NUMBER


def saved_after_of(http_request: HttpRequest, order: ImageOrder) -> tuple[int | None, int] | None:
    """Saved bytes and number after which the page begins, in an order by saved bytes."""
    return _parsed(partial(paging.parse_saved_token, order), http_request.query_params.get("page_token"))


def before_of(http_request: HttpRequest) -> tuple[datetime, UUID] | None:
    """Time and id before which the page begins, where the newest comes first."""
    return _parsed(paging.parse_moment_token, http_request.query_params.get("page_token"))


def key_before_of(http_request: HttpRequest) -> tuple[datetime, str] | None:
    """The same where the ids are those of API keys."""
    parse = partial(paging.parse_moment_and, lambda text: text if KEY_ID.fullmatch(text) else None)
    return _parsed(parse, http_request.query_params.get("page_token"))


def _parsed(parse: Callable[[str | None], T], text: str | None) -> T:
    try:
        return parse(text or None)
    except paging.BadPage as error:
        raise bad_parameter(str(error)) from None


def status_of(http_request: HttpRequest, kind: type[Choice]) -> Choice | None:
    """The `status` filter, if there is one."""
    return _choice(http_request, "status", kind)


def _choice(http_request: HttpRequest, name: str, kind: type[Choice]) -> Choice | None:
    wanted = http_request.query_params.get(name)
    if not wanted:
        return None
    try:
        return kind(wanted)
    except ValueError:
        raise bad_parameter(f"{name} must be one of {', '.join(kind)}") from None


def boolean_of(http_request: HttpRequest, name: str) -> bool:
    """A query parameter that says yes or no; no by default."""
    return optional_boolean_of(http_request, name) or False


def optional_boolean_of(http_request: HttpRequest, name: str) -> bool | None:
    """The same; None if it is not given."""
    text = http_request.query_params.get(name)
    try:
        return None if text is None else parse_boolean(text)
    except ValueError as error:
        raise bad_parameter(f"{name} {error}") from None


def bad_parameter(detail: str) -> Problem:
    return Problem(400, "invalid_parameter", detail)
