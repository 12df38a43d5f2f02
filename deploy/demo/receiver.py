"""Takes webhooks as a shop would: verifies the signature, then asks the API what it shows at that very moment."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from threading import Condition
from typing import Any

from deploy.demo.origin import Exchange, Received, status
from halftone_client import HalftoneError, WebhookVerificationError, verify_webhook

JSON = Mapping[str, Any]


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

    def __init__(self, show: Callable[[str], Any], *, secret: str | None = None) -> None:
        self._show = show
        self._secret = secret
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
            if self._secret:
                verify_webhook(request.body, request.headers, self._secret)
        except WebhookVerificationError as error:
            return kept(refusal=f"its signature is not valid: {error}")
        except ValueError as error:
            return kept(refusal=f"its body is not an event: {error!r}")
        try:
            return kept(shown=self._show(str(json.loads(request.body)["data"]["request_id"])))
        except HalftoneError as error:
            return kept(refusal=f"GET failed at its receipt: {error}")
        except (ValueError, TypeError, KeyError) as error:
            return kept(refusal=f"its body is not an event: {error!r}")
