"""The client of Halftone: send a CSV of image URLs, follow it, take the compressed images.

from halftone_client import Client

with Client("http://127.0.0.1:8080") as client:
    request = client.wait(client.submit("products.csv")["request_id"])
    client.download_csv(request["request_id"], "out.csv")
"""

from halftone_client.client import Client
from halftone_client.errors import HalftoneError, Incomplete, Refused, Unreachable
from halftone_client.shapes import TERMINAL, Delivery, Image, Request, RowError, Validation
from halftone_client.webhooks import WebhookVerificationError, verify_webhook

__all__ = [
    "TERMINAL",
    "Client",
    "Delivery",
    "HalftoneError",
    "Image",
    "Incomplete",
    "Refused",
    "Request",
    "RowError",
    "Unreachable",
    "Validation",
    "WebhookVerificationError",
    "verify_webhook",
]
