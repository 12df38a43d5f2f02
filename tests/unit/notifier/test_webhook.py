from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from services.notifier.webhook import RETRY_DELAYS, AttemptResult, next_step, signed_headers

HOUR = 3600
OLD, NEW, OTHER = "whsec_b2xkb2xkb2xk", "whsec_bmV3bmV3bmV3", "whsec_b3RoZXJvdGhlcg=="
BODY = '{"type":"request.completed","name":"Größe"}'


def step(attempt: int, *, random: float = 0.0, retry_after: float | None = None) -> tuple[str, float | None]:
    """After an attempt that failed."""
    result = AttemptResult(status_code=503, error="HTTP 503", retry_after=retry_after)
    return next_step(result, attempt=attempt, random=lambda: random)


def headers(*secrets: str) -> dict[str, str]:
    return signed_headers("event-1", BODY, secrets=secrets, now=datetime.now(UTC))


def test_ten_attempts_follow_the_standard_schedule_and_then_no_more() -> None:
    assert list(RETRY_DELAYS) == [5, 300, 1800, *(hours * HOUR for hours in (2, 5, 10, 14, 20, 24))]
    assert [step(attempt) for attempt in range(1, 11)] == [
        *(("pending", delay) for delay in RETRY_DELAYS),
        ("exhausted", None),
    ]
    assert step(10, retry_after=60) == ("exhausted", None)


def test_chance_adds_at_most_a_tenth() -> None:
    assert step(2, random=1.0)[1] == pytest.approx(330)


@pytest.mark.parametrize(("asked", "delay"), [(1, 300), (900, 900), (10**9, 86_400), (0, 300), (-5, 300)])
def test_retry_after_prolongs_but_never_shortens(asked: float, delay: float) -> None:
    assert step(2, retry_after=asked) == ("pending", delay)


def test_the_library_of_the_standard_verifies_either_secret_during_a_rotation() -> None:
    Webhook(NEW).verify(BODY, headers(NEW))
    for secret in (OLD, NEW):
        Webhook(secret).verify(BODY, headers(NEW, OLD))


@pytest.mark.parametrize(("secret", "body"), [(OTHER, BODY), (NEW, BODY + " ")])
def test_another_secret_or_another_body_does_not_verify(secret: str, body: str) -> None:
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, headers(NEW, OLD))


def test_the_headers_are_the_standards() -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    made = signed_headers("event-1", BODY, secrets=[NEW, OLD], now=moment)
    assert made["webhook-id"] == "event-1"
    assert made["webhook-timestamp"] == str(int(moment.timestamp()))
    assert [part[:3] for part in made["webhook-signature"].split(" ")] == ["v1,", "v1,"]
