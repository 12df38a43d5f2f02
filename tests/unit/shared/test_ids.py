from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.ids import parse_id, uuid7


@given(st.integers(0, 2**48 - 1))
def test_an_id_is_a_uuid_of_version_7_and_tells_its_time(now_ms: int) -> None:
    value = uuid7(now_ms=now_ms)
    assert (value.version, value.variant) == (7, "specified in RFC 4122")
    assert value.int >> 80 == now_ms


def test_later_ids_sort_later() -> None:
    assert uuid7(now_ms=1) < uuid7(now_ms=2) < uuid7()


def test_ids_of_one_moment_differ() -> None:
    assert len({uuid7(now_ms=1) for _ in range(1000)}) == 1000


def test_an_id_is_read_back_as_it_was_written() -> None:
    for value in (uuid7(), uuid4(), UUID(int=0)):
        assert parse_id(str(value)) == parse_id(str(value).upper()) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "not-an-id",
        "0" * 32,
        "{00000000-0000-7000-8000-000000000001}",
        "urn:uuid:00000000-0000-7000-8000-000000000001",
        " 00000000-0000-7000-8000-000000000001",
        "00000000-0000-7000-8000-000000000001\n",
        "00000000-0000-7000-8000-00000000000g",
        "\u06600000000-0000-7000-8000-000000000001",
    ],
)
def test_any_other_spelling_is_no_id(text: str) -> None:
    assert parse_id(text) is None
