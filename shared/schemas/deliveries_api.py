"""The public JSON of webhook deliveries: one class per shape. Pure."""

from typing import Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from shared.lifecycle import DeliveryStatus
from shared.schemas.api import Count, Number, Shape, Time


class RequestHeaders(Shape):
    """What a receiver needs to verify the body: with its secret, these give the signature again."""

    model_config = ConfigDict(serialize_by_alias=True)

    webhook_id: str = Field(alias="webhook-id", description="The id of the event.")
    webhook_timestamp: str = Field(alias="webhook-timestamp", description="When it was sent, in seconds since 1970.")
    webhook_signature: str = Field(
        alias="webhook-signature", description="One signature, or two during a rotation, divided by a space."
    )


class Attempt(Shape):
    number: Number
    at: Time
    status_code: int | None
    error: str | None
    duration_ms: Count
    response_excerpt: str
    request_headers: RequestHeaders | None = Field(
        description="Null where nothing was sent, the attempt never reported, or it was made by an earlier version."
    )


class Redelivery(Shape):
    """A webhook delivery that was made due again."""

    id: UUID
    event_id: UUID
    type: Literal["request.completed", "request.failed", "request.cancelled"]
    url: str
    status: DeliveryStatus
    next_attempt_at: Time | None


class Delivery(Redelivery):
    """A webhook delivery with what is posted and its last attempts."""

    body: str = Field(description="The exact text that every attempt posts, which is what is signed.")

    attempts: list[Attempt] = Field(json_schema_extra={"maxItems": 50})
