import pytest

from services.worker.fetch import retry_delay
from shared.errors import (
    BlockedUrl,
    ConnectFailure,
    DnsFailure,
    FetchTimeout,
    HttpStatus,
    HttpStatusTransient,
    ImageError,
    IncompleteBody,
    NotAnImage,
)


def delay_of(error: ImageError, *, attempts: int = 1, chance: float = 0.0) -> float | None:
    return retry_delay(error, attempts=attempts, random=lambda: chance)


@pytest.mark.parametrize("kind", [DnsFailure, ConnectFailure, FetchTimeout, IncompleteBody, HttpStatusTransient])
def test_a_transient_failure_has_five_attempts(kind: type[ImageError]) -> None:
    delays = [delay_of(kind("no"), attempts=attempts) for attempts in range(1, 6)]
    assert delays == [5, 15, 60, 120, None]


@pytest.mark.parametrize("error", [HttpStatus("no", status=404), BlockedUrl("no"), NotAnImage("no")])
def test_any_other_failure_is_final_at_once(error: ImageError) -> None:
    assert delay_of(error) is None


def test_chance_adds_at_most_a_quarter() -> None:
    assert delay_of(ConnectFailure("no"), chance=1.0) == 6.25


@pytest.mark.parametrize(("asked", "delay"), [(None, 5), (0, 5), (90, 90), (3600, 3600), (10**6, 3600)])
def test_retry_after_prolongs_up_to_an_hour_and_never_shortens(asked: float | None, delay: float) -> None:
    assert delay_of(HttpStatusTransient("503", retry_after=asked)) == delay


def test_retry_after_gives_no_sixth_attempt() -> None:
    assert delay_of(HttpStatusTransient("503", retry_after=5), attempts=5) is None
