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


def none() -> float:
    return 0.0


def most() -> float:
    return 1.0


@pytest.mark.parametrize("kind", [DnsFailure, ConnectFailure, FetchTimeout, IncompleteBody, HttpStatusTransient])
def test_a_transient_failure_has_five_attempts(kind: type[ImageError]) -> None:
    delays = [retry_delay(kind("no"), attempts=attempts, random=none) for attempts in range(1, 6)]
    assert delays == [5, 15, 60, 120, None]


@pytest.mark.parametrize("kind", [HttpStatus, BlockedUrl, NotAnImage])
def test_any_other_failure_is_final_at_once(kind: type[ImageError]) -> None:
    assert retry_delay(kind("no"), attempts=1, random=none) is None


def test_chance_adds_at_most_a_quarter() -> None:
    assert retry_delay(ConnectFailure("no"), attempts=1, random=most) == 6.25


@pytest.mark.parametrize(("asked", "delay"), [(None, 5), (0, 5), (90, 90), (3600, 3600), (10**6, 3600)])
def test_retry_after_prolongs_up_to_an_hour_and_never_shortens(asked: float | None, delay: float) -> None:
    error = HttpStatusTransient("503", retry_after=asked)
    assert retry_delay(error, attempts=1, random=none) == delay


def test_retry_after_gives_no_sixth_attempt() -> None:
    assert retry_delay(HttpStatusTransient("503", retry_after=5), attempts=5, random=none) is None
