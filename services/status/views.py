"""Rows as the public shapes of `shared.schemas.api` or for an export, and the ETag of a request. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from shared.blobs import output_key
from shared.formats import EXTENSIONS
from shared.lifecycle import RequestStatus
from shared.schemas import api, deliveries_api
from shared.schemas.progress import RequestRow
from shared.schemas.report_api import Report
from shared.schemas.tables import Delivery, DeliveryAttempt, Event, Image, Product

MARKS = RequestRow._fields.index("mark_at")
SHAPE = [list(shape.model_fields) for shape in (api.Request, api.ImageCounts, api.ByteCounts, api.Options, api.Links)]
"""In the ETag, because a later version may answer the same columns with more fields."""


REPORT = Report.model_json_schema(mode="serialization")


class ExportImage(NamedTuple):
    """The columns of an image that the output CSV and the zip need."""

    number: int
    url: str
    state: str
    error_code: str | None
    error_detail: str | None
    rendition_format: str | None
    rendition_sha256: str | None


class ExportRow(NamedTuple):
    """A product with its images by position."""

    row: int
    serial_number: str
    name: str
    images: list[ExportImage]


def output_url(public_url: str, request_id: UUID, *, sha256: str | None, format_name: str | None) -> str | None:
    """None until there is a rendition."""
    if sha256 is None or format_name is None:
        return None
    return f"{public_url}/files/{output_key(request_id, sha256, EXTENSIONS[format_name])}"


def image_view(image: Image, *, public_url: str) -> api.Image:
    return api.Image(**_image(image, public_url=public_url))


def product_view(product: Product, images: Mapping[int, Image], *, public_url: str) -> api.Product:
    return api.Product(
        row=product.row,
        serial_number=product.serial_number,
        name=product.name,
        images=[
            api.ProductImage(position=position, **_image(images[number], public_url=public_url))
            for position, number in enumerate(product.images, start=1)
        ],
    )


def _image(image: Image, *, public_url: str) -> dict[str, Any]:
    of_rendition = {"sha256": image.rendition_sha256, "format_name": image.rendition_format}
    return {
        "number": image.number,
        "url": image.url,
        "status": image.state,
        "output_url": output_url(public_url, image.request_id, **of_rendition),
        "error": {"code": image.error_code, "detail": image.error_detail} if image.error_code else None,
        "attempts": image.attempts,
        "source": _picture(image, "source") if image.source_sha256 else None,
        "rendition": _picture(image, "rendition")
        | {"quality": image.rendition_quality, "kept_original": image.kept_original}
        if image.rendition_sha256
        else None,
    }


def _picture(image: Image, kind: str) -> dict[str, Any]:
    """The columns of the source or of the rendition, by the names of `api.Picture`."""
    return {name: getattr(image, f"{kind}_{name}") for name in api.Picture.model_fields}


def delivery_view(delivery: Delivery, event: Event, attempts: Sequence[DeliveryAttempt]) -> deliveries_api.Delivery:
    fields = delivery.model_dump(include={"id", "event_id", "url", "status", "next_attempt_at"})
    shown = [attempt.model_dump() | {"request_headers": _headers(event.id, attempt)} for attempt in attempts]
    return deliveries_api.Delivery(**fields, type=event.type, body=event.body, attempts=shown)


def _headers(event_id: UUID, attempt: DeliveryAttempt) -> dict[str, str] | None:
    timestamp, signature = attempt.webhook_timestamp, attempt.webhook_signature
    if timestamp is None or signature is None:
        return None
    return {"webhook-id": str(event_id), "webhook-timestamp": timestamp, "webhook-signature": signature}


def older_view(request: api.Request) -> api.OlderStatus:
    """The answer of the two older contracts: four status words, a cancelled request reads `failed`."""
    status = request.status
    return api.OlderStatus(
        request_id=request.request_id,
        status="failed" if status is RequestStatus.CANCELLED else status.value,
        progress=request.progress,
        total_images=request.images.total,
        processed_images=request.images.total - request.images.pending,
        output_csv_url=request.links.output_csv if status.terminal else None,
    )


def entity_tag(request: RequestRow, counts: api.Counts, *, public_url: str) -> str:
    """A weak ETag of a request's JSON, from the columns that the JSON is made of, so that a 304 needs no JSON.

    It leaves out the marks: what they give, `eta_seconds` and `images_per_second`, changes with the clock alone.
    """
    return _tag((SHAPE, public_url, request[:MARKS], counts))


def report_tag(request_id: UUID, run: int, status: str) -> str | None:
    """A weak ETag of the report of a run that has ended, whose figures stay; None until then."""
    if not RequestStatus(status).terminal:
        return None
    return _tag((REPORT, request_id, run, status))


def _tag(content: object) -> str:
    return f'W/"{hashlib.blake2b(orjson.dumps(content), digest_size=12).hexdigest()}"'


def matches(tag: str, if_none_match: str | None) -> bool:
    """Weak comparison with an If-None-Match header (RFC 9110, section 13.1.2)."""
    if if_none_match is None:
        return False
    if if_none_match.strip() == "*":
        return True
    return tag.removeprefix("W/") in (known.strip().removeprefix("W/") for known in if_none_match.split(","))
