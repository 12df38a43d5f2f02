import pytest

from services.notifier.schedule import DELAYS, next_delay


def none() -> float:
    return 0.0


def most() -> float:
    return 1.0


def test_ten_attempts_and_then_no_more() -> None:
    assert [next_delay(attempt=attempt, random=none) for attempt in range(1, 11)] == [*DELAYS, None]


def test_the_schedule_is_the_standard_one() -> None:
    hour = 3600
    assert list(DELAYS) == [5, 300, 1800, 2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour]


def test_chance_adds_at_most_a_tenth() -> None:
    assert next_delay(attempt=2, random=most) == pytest.approx(330)


@pytest.mark.parametrize(("asked", "delay"), [(1, 300), (900, 900), (10**9, 86_400), (0, 300), (-5, 300)])
def test_retry_after_prolongs_but_never_shortens(asked: float, delay: float) -> None:
    assert next_delay(attempt=2, random=none, retry_after=asked) == delay


def test_retry_after_does_not_prolong_the_schedule_itself() -> None:
    assert next_delay(attempt=10, random=none, retry_after=60) is None
