"""Verification of webhooks (Standard Webhooks 1.0) on the receiver's side."""

import json
from collections.abc import Mapping
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError

__all__ = ["WebhookVerificationError", "verify_webhook"]


def verify_webhook(body: bytes | str, headers: Mapping[str, str], secret: str) -> dict[str, Any]:
    """The event `{"type", "timestamp", "data": <the request>}` of a POST whose signature is valid.

    `body` as it was received, byte for byte; `secret` is the account's `whsec_...`.

    Raises:
        WebhookVerificationError: it is not from Halftone, was changed, or is older than five minutes.

    """
    try:
        text = body if isinstance(body, str) else body.decode()
        Webhook(secret).verify(text, {name.lower(): value for name, value in headers.items()})
        return dict(json.loads(text))
    except (ValueError, TypeError) as error:  # not UTF-8, not JSON, a signature that is not base64
        raise WebhookVerificationError(f"not a signed event: {error}") from None
