"""One range of bytes, or the whole."""

import pytest

from services.status.files import part
from services.status.ranges import UnsatisfiableRange, parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 0)),
        ("bytes=0-", (0, 99)),
        ("bytes=10-1000", (10, 99)),
        ("bytes=-1", (99, 99)),
        ("bytes=-1000", (0, 99)),
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=9-8", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=x-y", None),
    ],
)
def test_a_range_is_understood_or_the_whole_is_sent(header: str | None, expected: tuple[int, int] | None) -> None:
    assert parse_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_a_range_behind_the_end_is_unsatisfiable(header: str) -> None:
    with pytest.raises(UnsatisfiableRange):
        parse_range(header, 100)


def test_an_empty_file_has_no_ranges() -> None:
    with pytest.raises(UnsatisfiableRange):
        parse_range("bytes=-5", 0)


@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 9), (2, 3), (3, 6), (9, 9)])
def test_a_part_of_a_stream_is_cut_across_chunks(first: int, last: int) -> None:
    assert b"".join(part(iter([b"012", b"345", b"6789"]), first, last)) == b"0123456789"[first : last + 1]
