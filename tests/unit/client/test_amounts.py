from datetime import UTC, datetime

import pytest

from halftone_client.cli import amounts


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (151_234_567, "151 MB"), (99_940, "99.9 kB"), (999_999, "1.0 MB")],
)
def test_sizes_have_decimal_units(count: int, text: str) -> None:
    assert amounts.size(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0.4, "0.4s"), (28, "28s"), (59.6, "1m 0s"), (72, "1m 12s"), (7_500, "2h 5m"), (273_600, "3d 4h")],
)
def test_durations_have_two_units(count: float, text: str) -> None:
    assert amounts.seconds(count) == text


@pytest.mark.parametrize(("second", "text"), [(2, "just now"), (40, "40s ago"), (59, "59s ago")])
def test_what_was_just_now_is_said_so(second: int, text: str) -> None:
    now = datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC)
    assert amounts.ago("2026-01-01T00:00:00.000Z", now=now) == text
