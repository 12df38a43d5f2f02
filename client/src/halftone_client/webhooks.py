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
        ValueError: it is signed, but no event.

    """
    try:
        Webhook(secret).verify(body, {name.lower(): value for name, value in headers.items()}, json_parse=False)
    except ValueError as error:  # a signature that is not base64, a body that is not UTF-8
        raise WebhookVerificationError(f"not a signature: {error}") from None
    try:
        return dict(json.loads(body))
    except TypeError:
        raise ValueError("the event is not a JSON object") from None
