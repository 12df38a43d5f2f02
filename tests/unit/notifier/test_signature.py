from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from services.notifier.signature import signed_headers

OLD, NEW, OTHER = "whsec_b2xkb2xkb2xk", "whsec_bmV3bmV3bmV3", "whsec_b3RoZXJvdGhlcg=="
BODY = '{"type":"request.completed","name":"Größe"}'


def headers(*secrets: str) -> dict[str, str]:
    return signed_headers("event-1", BODY, secrets=secrets, now=datetime.now(UTC))


def test_the_library_of_the_standard_verifies_the_signature() -> None:
    Webhook(NEW).verify(BODY, headers(NEW))


def test_during_a_rotation_either_secret_verifies() -> None:
    for secret in (OLD, NEW):
        Webhook(secret).verify(BODY, headers(NEW, OLD))


def test_another_secret_or_another_body_does_not_verify() -> None:
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER).verify(BODY, headers(NEW, OLD))
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(BODY + " ", headers(NEW))


def test_the_headers_are_the_standards() -> None:
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    made = signed_headers("event-1", BODY, secrets=[NEW, OLD], now=moment)
    assert made["webhook-id"] == "event-1"
    assert made["webhook-timestamp"] == str(int(moment.timestamp()))
    assert [part[:3] for part in made["webhook-signature"].split(" ")] == ["v1,", "v1,"]
