"""The webhook: a call that this server makes, described as one that a client answers."""

from services.status.openapi.calls import order, parameter, response
from services.status.openapi.shapes import Json

HEADERS = {
    "webhook-id": "The id of the event, the same in every attempt; take a second delivery with it for the first one.",
    "webhook-timestamp": "When it was sent, in seconds since 1970; refuse what is older than five minutes.",
    "webhook-signature": "One signature, or two during a rotation, divided by a space: `v1,` and base64.",
}
DESCRIPTION = """Sent to the request's `webhook_url` once it has ended, for each of its runs, and signed as
Standard Webhooks 1.0 says. It is sent again until it is answered with 2xx, ten times in three days."""


def webhooks() -> Json:
    operation = {
        "operationId": "requestEnded",
        "tags": ["webhooks"],
        "summary": "A request has ended",
        "description": DESCRIPTION,
        "security": [],
        "parameters": [parameter("header", name, text) | {"required": True} for name, text in HEADERS.items()],
        "requestBody": {"required": True, "content": order("WebhookEvent")},
        "responses": {
            "2XX": response("Taken."),
            "410": response("Not wanted any more: no other attempt is made."),
            "default": response("Sent again later; `Retry-After` of 429, 502, 503 and 504 is kept."),
        },
    }
    return {"requestEnded": {"post": operation}}
