"""Page tokens survive the round trip, and other text is refused."""

import base64
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.status import paging

ROW_ID = UUID("01980000-0000-7000-8000-00000000002a")


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@given(st.integers(0, paging.MAX_NUMBER))
def test_number_survives_the_token(number: int) -> None:
    assert paging.parse_number_token(paging.number_token(number)) == number


@given(st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1)), st.uuids())  # noqa: DTZ001
def test_moment_and_id_survive_the_token_to_the_microsecond(at: datetime, row_id: UUID) -> None:
    token = paging.moment_token(at.replace(tzinfo=UTC), row_id)

    assert paging.parse_moment_token(token) == (at.replace(tzinfo=UTC), row_id)


@given(st.sampled_from(["saved", "-saved"]), st.none() | st.integers(-paging.MAX_SAVED, paging.MAX_SAVED))
def test_saved_bytes_and_number_survive_the_token_of_their_order_alone(order: str, saved: int | None) -> None:
    token = paging.saved_token(order, saved, 7)

    assert paging.parse_saved_token(order, token) == (saved, 7)
    with pytest.raises(paging.BadPage):
        paging.parse_saved_token("another", token)


@pytest.mark.parametrize(
    "content",
    [
        '["saved",1]',
        '["saved",true,1]',
        '["saved",1.5,1]',
        '["saved","1",1]',
        '["saved",1,-1]',
        '["saved",1,null]',
        '["saved",9223372036854775808,1]',
        '["saved",-9223372036854775808,1]',
        '[["saved"],1,1]',
        "{}",
    ],
)
def test_garbage_is_no_saved_token(content: str) -> None:
    with pytest.raises(paging.BadPage):
        paging.parse_saved_token("saved", encoded(content))


def test_no_token_is_the_first_page() -> None:
    assert paging.parse_saved_token("saved", None) is None
    assert paging.parse_number_token(None) == 0
    assert paging.parse_moment_token(None) is None


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "ä",
        "====",
        "a b",
        encoded("[1,2]"),
        encoded('["1"]'),
        encoded("[true]"),
        encoded("[-1]"),
        encoded("[2147483648]"),
        encoded("{}"),
        encoded("[" * 5000),
        encoded("[NaN]"),
        encoded(f"[{'9' * 5000}]"),
    ],
)
def test_garbage_is_no_number_token(token: str) -> None:
    with pytest.raises(paging.BadPage):
        paging.parse_number_token(token)


@pytest.mark.parametrize(
    "content", ["[1]", '[1,"x"]', f'["1","{ROW_ID}"]', f'[9e99,"{ROW_ID}"]', f'[{9**30},"{ROW_ID}"]']
)
def test_garbage_is_no_moment_token(content: str) -> None:
    with pytest.raises(paging.BadPage):
        paging.parse_moment_token(encoded(content))


@given(st.text(max_size=40))
def test_any_text_is_a_page_or_refused(text: str) -> None:
    by_saved = partial(paging.parse_saved_token, "saved")
    for parse in (paging.parse_number_token, by_saved, paging.parse_moment_token, paging.parse_size):
        try:
            parse(text)
        except paging.BadPage:
            continue


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (None, 50),
        ("1", 1),
        ("200", 200),
        ("201", 200),
        ("9999999999", 200),
        ("1" + "0" * 22, 200),
        ("9" * 5000, 200),
        ("0" * 5000 + "7", 7),
    ],
)
def test_size_is_clamped(text: str | None, size: int) -> None:
    assert paging.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "²", "x", "000"])
def test_no_size_is_refused(text: str) -> None:
    with pytest.raises(paging.BadPage):
        paging.parse_size(text)


def test_the_last_page_has_no_token() -> None:
    assert paging.cut([1, 2], 2, paging.number_token) == ([1, 2], None)
    assert paging.cut([1, 2, 3], 2, paging.number_token) == ([1, 2], paging.number_token(2))
