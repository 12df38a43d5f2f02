"""Rows as ingest, worker and notifier would leave them."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlmodel import SQLModel

from shared.blobs import Blobs, output_key
from shared.db import Database
from shared.ids import uuid7
from shared.schemas.accounts import DEFAULT_ACCOUNT
from shared.schemas.tables import Delivery, DeliveryAttempt, Event, Image, ImageGroup, ProcessingRequest, Product

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def add(database: Database, rows: Sequence[SQLModel]) -> None:
    """Flushed kind by kind, in the order given, so parents come first."""

    def write(session: Any) -> None:
        for row in rows:
            session.add(row)
            if isinstance(row, ProcessingRequest | Event | Delivery):
                session.flush()

    database.transact(write)


def request(**values: Any) -> ProcessingRequest:
    """A request that is under way, unless `values` say otherwise."""
    defaults: dict[str, Any] = {
        "id": uuid7(),
        "account_id": DEFAULT_ACCOUNT,
        "status": "processing",
        "products": 1,
        "images": 1,
        "created_at": NOW,
        "started_at": NOW,
        "deadline_at": NOW + timedelta(days=1),
    }
    return ProcessingRequest(**defaults | values)


def stored(database: Database, **values: Any) -> ProcessingRequest:
    """A request that has no other rows yet."""
    found = request(**values)
    add(database, [found])
    return found


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def completed(request_id: UUID, number: int, **values: Any) -> Image:
    defaults: dict[str, Any] = {
        "state": "completed",
        "attempts": 1,
        "source_bytes": 1000,
        "source_format": "jpeg",
        "source_width": 40,
        "source_height": 30,
        "source_sha256": digest(f"source {number}"),
        "rendition_bytes": 400,
        "rendition_format": "jpeg",
        "rendition_width": 40,
        "rendition_height": 30,
        "rendition_sha256": digest(f"rendition {number}"),
        "rendition_quality": 50,
        "kept_original": False,
    }
    return pending(request_id, number, **defaults | values)


def failed(request_id: UUID, number: int, code: str = "http_status", detail: str = "404 Not Found") -> Image:
    return pending(request_id, number, state="failed", attempts=1, error_code=code, error_detail=detail)


def pending(request_id: UUID, number: int, **values: Any) -> Image:
    defaults: dict[str, Any] = {"url": f"https://images.example/{number}.jpg", "not_before": NOW}
    return Image(request_id=request_id, number=number, **defaults | values)


def product(request_id: UUID, row: int, images: list[int], **values: Any) -> Product:
    defaults = {"serial_number": str(row), "name": f"Product {row}"}
    return Product(request_id=request_id, row=row, images=images, **defaults | values)


def group(request_id: UUID, number: int, **values: Any) -> ImageGroup:
    defaults: dict[str, Any] = {"state": "dispatched", "dispatch_no": 1, "images": 128}
    return ImageGroup(request_id=request_id, number=number, **defaults | values)


def put_rendition(blobs: Blobs, image: Image, content: bytes) -> str:
    """Store `content` as the image's rendition; returns its key."""
    assert image.rendition_sha256 is not None
    key = output_key(image.request_id, image.rendition_sha256, "jpg")
    blobs.put(key, content, durable=False)
    return key


def delivered(request_id: UUID, run: int, *, attempts: int, body: str = "{}") -> list[SQLModel]:
    """An event, its delivery and the attempts, all but the last of them refused; the first kept no headers."""
    event = Event(request_id=request_id, run=run, type="request.completed", body=body, created_at=NOW)
    delivery = Delivery(
        event_id=event.id,
        request_id=request_id,
        url="https://shop.example/hook",
        status="delivered",
        attempt=attempts,
        created_at=NOW + timedelta(minutes=run),
    )
    return [
        event,
        delivery,
        *(
            DeliveryAttempt(
                delivery_id=delivery.id,
                number=number,
                at=NOW,
                status_code=200 if number == attempts else 500,
                duration_ms=12,
                response_excerpt="ok",
                webhook_timestamp="1772366400" if number > 1 else None,
                webhook_signature=f"v1,c2lnbmF0dXJl{number}" if number > 1 else None,
            )
            for number in range(1, attempts + 1)
        ),
    ]
