import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook

from deploy.local.demo.failure import DemoFailed
from deploy.local.demo.receiver import Receiver

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
EVENT = json.dumps({"type": "request.completed", "data": {"request_id": "r-1"}})


def signed(body: str, secret: str = SECRET) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "Webhook-Id": "e-1",
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": Webhook(secret).sign("e-1", now, body),
    }


def completed(_request_id: str) -> dict[str, Any]:
    return {"status": "completed"}


def test_a_signed_event_is_taken_with_what_get_showed_at_its_receipt() -> None:
    receiver = Receiver(SECRET, completed)
    assert receiver.receive(EVENT.encode(), signed(EVENT)) == 204
    (arrival,) = receiver.arrivals
    assert (arrival.event_id, arrival.refusal, arrival.status_at_receipt) == ("e-1", None, "completed")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed(EVENT, "whsec_" + base64.b64encode(b"another secret, as long.").decode()),
        {**signed(EVENT), "Webhook-Signature": "garbage"},
        {**signed(EVENT), "Webhook-Timestamp": "1"},
    ],
    ids=["unsigned", "by another", "garbage", "old"],
)
def test_a_signature_that_is_not_valid_is_refused_and_never_looked_up(headers: dict[str, str]) -> None:
    looked: list[str] = []

    def look(request_id: str) -> dict[str, Any]:
        looked.append(request_id)
        return {"status": "completed"}

    receiver = Receiver(SECRET, look)
    assert receiver.receive(EVENT.encode(), headers) == 400
    assert "signature" in str(receiver.arrivals[0].refusal)
    assert looked == []


@pytest.mark.parametrize("body", ["[]", "{}", "not json"])
def test_a_signed_body_that_is_no_event_is_refused(body: str) -> None:
    receiver = Receiver(SECRET, completed)
    assert receiver.receive(body.encode(), signed(body)) == 400
    assert "not an event" in str(receiver.arrivals[0].refusal)


def test_a_get_that_fails_at_the_receipt_is_told() -> None:
    def broken(_request_id: str) -> dict[str, Any]:
        raise DemoFailed("away")

    receiver = Receiver(SECRET, broken)
    assert receiver.receive(EVENT.encode(), signed(EVENT)) == 400
    assert "away" in str(receiver.arrivals[0].refusal)


def test_waiting_for_nothing_ends() -> None:
    assert not Receiver(SECRET, completed).wait(within=0)
