"""The names that are promised; `halftone_client` has them all."""

from halftone_client.client import Client, Submitted
from halftone_client.errors import HalftoneError, Incomplete, Refused, Unreachable
from halftone_client.shapes import (
    TERMINAL,
    Account,
    Delivery,
    Image,
    Options,
    Product,
    Redelivery,
    Request,
    RowError,
    Validation,
)
from halftone_client.webhooks import WebhookVerificationError, verify_webhook

__all__ = [
    "TERMINAL",
    "Account",
    "Client",
    "Delivery",
    "HalftoneError",
    "Image",
    "Incomplete",
    "Options",
    "Product",
    "Redelivery",
    "Refused",
    "Request",
    "RowError",
    "Submitted",
    "Unreachable",
    "Validation",
    "WebhookVerificationError",
    "verify_webhook",
]
