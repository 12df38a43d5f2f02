"""The public JSON of webhook deliveries: one class per shape. Pure."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from shared.lifecycle import DeliveryStatus
from shared.schemas.api import Count, Number, Shape, Time


class Attempt(Shape):
    number: Number
    at: Time
    status_code: int | None
    error: str | None
    duration_ms: Count
    response_excerpt: str


class Redelivery(Shape):
    """A webhook delivery that was made due again."""

    id: UUID
    event_id: UUID
    type: Literal["request.completed", "request.failed", "request.cancelled"]
    url: str
    status: DeliveryStatus
    next_attempt_at: Time | None


class Delivery(Redelivery):
    """A webhook delivery with its last attempts."""

    attempts: list[Attempt] = Field(json_schema_extra={"maxItems": 50})
