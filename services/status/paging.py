"""Page tokens: the last key of a page, opaque to clients; pure.

A page starts after a key, never at an offset, so rows that arrive meanwhile neither shift nor repeat others.
"""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from shared.ids import parse_id

T = TypeVar("T")
Id = TypeVar("Id", UUID, str)
DEFAULT_SIZE = 50
MAX_SIZE = 200
MAX_NUMBER = 2**31 - 1  # what an integer column can compare with
MAX_SAVED = 2**63 - 1  # the same of the difference of two bigint columns
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MOMENT = (datetime(9999, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)


class BadPage(ValueError):
    """`page_size` or `page_token` is not valid."""


def parse_size(text: str | None) -> int:
    """The page size, clamped to MAX_SIZE. Raises BadPage."""
    if text is None:
        return DEFAULT_SIZE
    digits = text.lstrip("0")
    if not (text.isascii() and text.isdigit() and digits):
        raise BadPage("page_size must be a whole number from 1 up")
    return min(int(digits[:9]), MAX_SIZE)  # nine digits are above the maximum already


def number_token(number: int) -> str:
    """The token of a list that is ordered by a number."""
    return _encode([number])


def parse_number_token(token: str | None) -> int:
    """The number after which the page begins, 0 for the first page. Raises BadPage."""
    if token is None:
        return 0
    (number,) = _decode(token, length=1)
    if not _is_number(number, MAX_NUMBER):
        raise _bad_token()
    return int(number)


def saved_token(sort: str, saved: int | None, number: int) -> str:
    """The token of a list of images in one of the orders by saved bytes."""
    return _encode([sort, saved, number])


def parse_saved_token(sort: str, token: str | None) -> tuple[int | None, int] | None:
    """Saved bytes and number after which the page begins, None for the first page.

    Raises:
        BadPage: also where the token is of another order.

    """
    if token is None:
        return None
    of_sort, saved, number = _decode(token, length=3)
    if of_sort != sort or not _is_number(number, MAX_NUMBER):
        raise _bad_token()
    if saved is not None and not _is_number(saved, MAX_SAVED, minimum=-MAX_SAVED):
        raise _bad_token()
    return saved, number


def moment_token(at: datetime, row_id: UUID | str) -> str:
    """The token of a list that is newest first."""
    return _encode([(at - EPOCH) // timedelta(microseconds=1), str(row_id)])


def parse_moment_token(token: str | None) -> tuple[datetime, UUID] | None:
    """Time and id before which the page begins, None for the first page. Raises BadPage."""
    return parse_moment_and(parse_id, token)


def parse_moment_and(parse: Callable[[str], Id | None], token: str | None) -> tuple[datetime, Id] | None:
    """The same for ids of another kind. Raises BadPage."""
    if token is None:
        return None
    at, text = _decode(token, length=2)
    row_id = parse(text) if isinstance(text, str) else None
    if row_id is None or not _is_number(at, LAST_MOMENT):
        raise _bad_token()
    return EPOCH + timedelta(microseconds=int(at)), row_id


def cut(rows: Sequence[T], size: int, token_of: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
    """The page and its next token, from up to `size + 1` rows: an extra row means that there are more."""
    if len(rows) <= size:
        return rows, None
    return rows[:size], token_of(rows[size - 1])


def _encode(key: list[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).rstrip(b"=").decode()


def _decode(token: str, *, length: int) -> list[Any]:
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise _bad_token() from None
    if not isinstance(key, list) or len(key) != length:
        raise _bad_token()
    return key


def _is_number(value: object, maximum: int, *, minimum: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum


def _bad_token() -> BadPage:
    return BadPage("page_token was not given out by this list")
