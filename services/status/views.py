"""Images, products and deliveries as clients see them; the request's own view is `shared.schemas.api`. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from shared.blobs import output_key
from shared.formats import EXTENSIONS
from shared.lifecycle import ImageState, RequestStatus
from shared.schemas.api import timestamp
from shared.schemas.tables import Delivery, DeliveryAttempt, Image, Product


def output_url(public_url: str, request_id: UUID, *, sha256: str | None, format_name: str | None) -> str | None:
    """None until there is a rendition."""
    if sha256 is None or format_name is None:
        return None
    return f"{public_url}/files/{output_key(request_id, sha256, EXTENSIONS[format_name])}"


def image_view(image: Image, *, public_url: str) -> dict[str, Any]:
    """The JSON of one image; `source` and `rendition` are null until there is one."""
    return {
        "number": image.number,
        "url": image.url,
        "status": image.state,
        "output_url": output_url(
            public_url, image.request_id, sha256=image.rendition_sha256, format_name=image.rendition_format
        ),
        "error": {"code": image.error_code, "detail": image.error_detail} if image.error_code else None,
        "attempts": image.attempts,
        "source": _source(image),
        "rendition": _rendition(image),
    }


def _source(image: Image) -> dict[str, Any] | None:
    if image.source_sha256 is None:
        return None
    return {
        "bytes": image.source_bytes,
        "format": image.source_format,
        "width": image.source_width,
        "height": image.source_height,
        "sha256": image.source_sha256,
    }


def _rendition(image: Image) -> dict[str, Any] | None:
    if image.rendition_sha256 is None:
        return None
    return {
        "bytes": image.rendition_bytes,
        "format": image.rendition_format,
        "width": image.rendition_width,
        "height": image.rendition_height,
        "sha256": image.rendition_sha256,
        "quality": image.rendition_quality,
        "kept_original": image.kept_original,
    }


def product_view(product: Product, images: Mapping[int, Image], *, public_url: str) -> dict[str, Any]:
    """A row of the manifest; the same image may stand at two positions."""
    return {
        "row": product.row,
        "serial_number": product.serial_number,
        "name": product.name,
        "images": [
            {"position": position, **image_view(images[number], public_url=public_url)}
            for position, number in enumerate(product.images, start=1)
        ],
    }


def delivery_view(delivery: Delivery, event_type: str, attempts: Sequence[DeliveryAttempt]) -> dict[str, Any]:
    return {
        "id": str(delivery.id),
        "event_id": str(delivery.event_id),
        "type": event_type,
        "url": delivery.url,
        "status": delivery.status,
        "next_attempt_at": timestamp(delivery.next_attempt_at),
        "attempts": [_attempt(attempt) for attempt in attempts],
    }


def _attempt(attempt: DeliveryAttempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "at": timestamp(attempt.at),
        "status_code": attempt.status_code,
        "error": attempt.error,
        "duration_ms": attempt.duration_ms,
        "response_excerpt": attempt.response_excerpt,
    }


def older_view(request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer of the two older contracts: four status words, a cancelled request reads `failed`."""
    status = RequestStatus(request["status"])
    return {
        "request_id": request["request_id"],
        "status": "failed" if status is RequestStatus.CANCELLED else status.value,
        "progress": request["progress"],
        "total_images": request["images"]["total"],
        "processed_images": request["images"]["total"] - request["images"][ImageState.PENDING],
        "output_csv_url": request["links"]["output_csv"] if status.terminal else None,
    }


def entity_tag(request: Mapping[str, Any]) -> str:
    """A weak ETag of a request's JSON. `eta_seconds` is left out: it changes with the clock alone."""
    content = {name: value for name, value in request.items() if name != "eta_seconds"}
    digest = hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=12).hexdigest()
    return f'W/"{digest}"'


def matches(tag: str, if_none_match: str | None) -> bool:
    """Weak comparison with an If-None-Match header (RFC 9110, section 13.1.2)."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return tag.removeprefix("W/") in (known.strip().removeprefix("W/") for known in if_none_match.split(","))
