"""Standard Webhooks 1.0 headers. Pure."""

from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook


def signed_headers(event_id: str, body: str, *, secrets: Sequence[str], now: datetime) -> dict[str, str]:
    """`secrets`: one, or two during a rotation; the receiver needs to know any one of them. `now` is in UTC."""
    signatures = [Webhook(secret).sign(msg_id=event_id, timestamp=now, data=body) for secret in secrets]
    return {
        "content-type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
