"""Takes webhooks as a shop would: verifies the signature, then asks the API what it shows at that very moment."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from threading import Condition

from standardwebhooks import Webhook, WebhookVerificationError

from deploy.demo.client import JSON, ApiError
from deploy.demo.origin import Exchange, Received, status


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A POST as it came; `refusal` says why it was not accepted, `shown` is the request as GET showed it then."""

    at: datetime
    headers: Mapping[str, str]
    body: bytes
    shown: JSON | None = None
    refusal: str | None = None

    @property
    def event_id(self) -> str:
        """The id of the event, which all its attempts share."""
        return self.headers.get("webhook-id", "")

    @property
    def status_shown(self) -> str | None:
        """The status that GET showed; None if it failed."""
        return None if self.shown is None else str(self.shown["status"])

    @property
    def event(self) -> JSON:
        """The body; empty if it is not a JSON object."""
        try:
            return dict(json.loads(self.body))
        except (ValueError, TypeError):
            return {}


class Receiver:
    """A behaviour of an origin, called in its threads; without a `secret` it accepts any signature."""

    def __init__(self, show: Callable[[str], JSON], *, secret: str | None = None) -> None:
        self._show = show
        self._webhook = Webhook(secret) if secret else None
        self._arrived = Condition()
        self._arrivals: list[Arrival] = []

    def __call__(self, exchange: Exchange) -> None:
        """Keep the POST and answer 204 or 400."""
        status(204 if self.take(exchange.request).refusal is None else 400)(exchange)

    @property
    def arrivals(self) -> list[Arrival]:
        """All so far, in order."""
        with self._arrived:
            return list(self._arrivals)

    def take(self, request: Received) -> Arrival:
        """Judge a POST and keep it."""
        arrival = self._judge(request)
        with self._arrived:
            self._arrivals.append(arrival)
            self._arrived.notify_all()
        return arrival

    def wait(self, *, within: float) -> bool:
        """Whether anything arrived within so many seconds."""
        with self._arrived:
            return self._arrived.wait_for(lambda: bool(self._arrivals), timeout=within)

    def _judge(self, request: Received) -> Arrival:
        kept = partial(Arrival, at=datetime.now(UTC), headers=request.headers, body=request.body)
        try:
            if self._webhook:
                self._webhook.verify(request.body, dict(request.headers), json_parse=False)
        except (WebhookVerificationError, ValueError) as error:  # ValueError: not base64, not UTF-8
            return kept(refusal=f"its signature is not valid: {error}")
        try:
            return kept(shown=self._show(str(json.loads(request.body)["data"]["request_id"])))
        except ApiError as error:
            return kept(refusal=f"GET failed at its receipt: {error}")
        except (ValueError, TypeError, KeyError) as error:
            return kept(refusal=f"its body is not an event: {error!r}")
