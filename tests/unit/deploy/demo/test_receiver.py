import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook

from deploy.demo.origin import Origin, Received
from deploy.demo.receiver import Arrival, Receiver
from tests.api import ApiError, Client, Refused

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
EVENT = json.dumps({"type": "request.completed", "data": {"request_id": "r-1"}})


def signed(body: str, secret: str = SECRET) -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "webhook-id": "e-1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("e-1", now, body),
    }


def completed(_request_id: str) -> dict[str, Any]:
    return {"status": "completed"}


def away(_request_id: str) -> dict[str, Any]:
    raise ApiError("away")


def taken(receiver: Receiver, headers: dict[str, str], body: str = EVENT) -> Arrival:
    return receiver.take(Received("POST", "/hook", headers, body.encode()))


def test_a_signed_event_is_taken_with_what_get_showed_at_its_receipt() -> None:
    receiver = Receiver(completed, secret=SECRET)
    arrival = taken(receiver, signed(EVENT))
    assert receiver.arrivals == [arrival]
    assert (arrival.event_id, arrival.refusal, arrival.status_shown) == ("e-1", None, "completed")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed(EVENT, "whsec_" + base64.b64encode(b"another secret, as long.").decode()),
        {**signed(EVENT), "webhook-signature": "garbage"},
        {**signed(EVENT), "webhook-timestamp": "1"},
    ],
    ids=["unsigned", "by another", "garbage", "old"],
)
def test_a_signature_that_is_not_valid_is_refused_before_the_api_is_asked(headers: dict[str, str]) -> None:
    arrival = taken(Receiver(away, secret=SECRET), headers)
    assert "signature" in str(arrival.refusal)


@pytest.mark.parametrize("body", ["[]", "{}", "not json"])
def test_a_signed_body_that_is_not_an_event_is_refused(body: str) -> None:
    arrival = taken(Receiver(completed, secret=SECRET), signed(body), body)
    assert "not an event" in str(arrival.refusal)
    assert arrival.event == {}


def test_a_get_that_fails_at_the_receipt_is_a_refusal() -> None:
    assert "away" in str(taken(Receiver(away, secret=SECRET), signed(EVENT)).refusal)


def test_the_answer_says_whether_the_post_was_accepted() -> None:
    receiver = Receiver(completed, secret=SECRET)
    with Origin() as origin:
        origin.on("/hook", receiver)
        client = Client(origin.url(""))
        client.call("POST", "/hook", body=EVENT.encode(), headers=signed(EVENT))
        with pytest.raises(Refused, match="answered 400"):
            client.call("POST", "/hook", body=EVENT.encode())
    assert [arrival.refusal is None for arrival in receiver.arrivals] == [True, False]


def test_waiting_for_nothing_ends() -> None:
    assert not Receiver(completed).wait(within=0)
