"""Takes the webhook as a shop would: checks the signature, then asks the API what it shows at that very moment."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Condition

from standardwebhooks import Webhook, WebhookVerificationError

from deploy.local.demo.failure import DemoFailed
from deploy.local.demo.gateway import JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One POST: `refusal` says why it was not believed; `status_at_receipt` is what `GET` showed, None if it failed."""

    event_id: str
    body: JSON
    refusal: str | None = None
    status_at_receipt: str | None = None


class Receiver:
    """`look(request_id)` is `GET /v1/requests/{id}`. Called in the origin's threads."""

    def __init__(self, secret: str, look: Callable[[str], JSON]) -> None:
        self._webhook = Webhook(secret)
        self._look = look
        self._arrived = Condition()
        self._arrivals: list[Arrival] = []

    @property
    def arrivals(self) -> list[Arrival]:
        """All so far, in order."""
        with self._arrived:
            return list(self._arrivals)

    def receive(self, body: bytes, headers: Mapping[str, str]) -> int:
        """Take one POST; the status to answer."""
        arrival = self._judge(body, {name.lower(): value for name, value in headers.items()})
        with self._arrived:
            self._arrivals.append(arrival)
            self._arrived.notify_all()
        return 204 if arrival.refusal is None else 400

    def wait(self, *, within: float) -> bool:
        """Whether anything arrived within so many seconds."""
        with self._arrived:
            return self._arrived.wait_for(lambda: bool(self._arrivals), timeout=within)

    def _judge(self, body: bytes, headers: Mapping[str, str]) -> Arrival:
        event_id = headers.get("webhook-id", "")
        try:
            self._webhook.verify(body, dict(headers), json_parse=False)
        except (WebhookVerificationError, ValueError) as error:  # ValueError: no base64, no UTF-8
            return Arrival(event_id=event_id, body={}, refusal=f"its signature is not valid: {error}")
        try:
            event = dict(json.loads(body))
            shown = self._look(str(event["data"]["request_id"]))
        except DemoFailed as error:
            return Arrival(event_id=event_id, body=event, refusal=f"GET failed at its receipt: {error}")
        except (ValueError, TypeError, KeyError) as error:
            return Arrival(event_id=event_id, body={}, refusal=f"its body is not an event: {error!r}")
        return Arrival(event_id=event_id, body=event, status_at_receipt=shown["status"])
