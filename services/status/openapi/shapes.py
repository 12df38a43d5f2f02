"""The JSON that goes in and out, as JSON Schema."""

from typing import Any

from services.status.openapi.terms import UUID, Json, ref
from shared.errors import ImageError
from shared.formats import MEDIA_TYPES
from shared.lifecycle import DeliveryStatus, ImageState, Outcome, RequestStatus
from shared.recipe import Mode, TargetFormat

ROW_ERROR_CODES = (
    *("missing_header", "no_rows", "empty_name", "empty_serial_number", "duplicate_serial_number", "no_url"),
    *("invalid_url", "url_too_long", "too_many_urls", "too_many_images", "nul_byte", "unterminated_quote", "not_csv"),
)


def error_codes(kind: type[ImageError]) -> set[str]:
    """The codes of an error and all below it."""
    own = {kind.code} if hasattr(kind, "code") else set()
    return own.union(*map(error_codes, kind.__subclasses__()))


def maybe(schema: Json) -> Json:
    """The same, or null."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return schema | {"type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def record(**properties: Json) -> Json:
    """An object of which every property is always there; later versions may add some."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def page(shape: str) -> Json:
    return record(items={"type": "array", "items": ref(shape)}, next_page_token=maybe(STRING))


def choice(*values: Any) -> Json:
    return {"type": "string", "enum": [str(value) for value in values]}


STRING: Json = {"type": "string"}
COUNT: Json = {"type": "integer", "minimum": 0}
NUMBER: Json = {"type": "integer", "minimum": 1}
BOOLEAN: Json = {"type": "boolean"}
TIME: Json = {"type": "string", "format": "date-time"}
QUALITY: Json = {"type": "integer", "minimum": 1, "maximum": 95}
URI: Json = {"type": "string", "format": "uri"}
FORMAT = choice(*MEDIA_TYPES)
LINKS = ("self", "products", "images", "output_csv", "outputs_zip", "events", "deliveries")
SIZE = {"bytes": COUNT, "format": maybe(FORMAT), "width": maybe(NUMBER), "height": maybe(NUMBER), "sha256": STRING}

OPTIONS: dict[str, Json] = {
    "webhook_url": maybe(URI) | {"description": "Told when the request is finished."},
    "webhookUrl": maybe(URI) | {"description": "The same; `webhook_url` goes first."},
    "quality": {
        "type": "integer",
        "minimum": 1,
        "maximum": 95,
        "default": 50,
        "description": "What `mode` makes of it.",
    },
    "mode": choice(*Mode)
    | {
        "default": "absolute",
        "description": "`absolute`: the encoder's quality; `relative`: percent of the source's own quality; "
        "`bytes`: the best quality within so many percent of the source's bytes.",
    },
    "format": choice(*TargetFormat) | {"default": "keep"},
    "max_side": {
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": 65535,
        "description": "Longest side in pixels; never enlarges.",
    },
    "on_invalid": choice("reject", "skip")
    | {"default": "reject", "description": "`skip` takes the good rows and lists the others."},
    "validate_only": {
        "type": "boolean",
        "default": False,
        "description": "Only check the manifest; store nothing. As text also `1 yes on 0 no off`. Not in `older`.",
    },
}
IMAGE = {
    "number": NUMBER,
    "url": STRING,
    "status": choice(*ImageState),
    "output_url": maybe(URI),
    "error": maybe(record(code=choice(*sorted(error_codes(ImageError))), detail=maybe(STRING))),
    "attempts": COUNT,
    "source": maybe(record(**SIZE)),
    "rendition": maybe(record(**SIZE, quality=maybe(NUMBER), kept_original=maybe(BOOLEAN))),
}
REQUEST = record(
    request_id=UUID,
    run=NUMBER | {"description": "1, and one more for each retry."},
    status=choice(*RequestStatus),
    outcome=maybe(choice(*Outcome)) | {"description": "Null until the request is terminal."},
    progress={"type": "number", "minimum": 0, "maximum": 1},
    products=COUNT,
    images=record(total=COUNT, pending=COUNT, completed=COUNT, failed=COUNT, cancelled=COUNT),
    bytes=record(source=COUNT, rendition=COUNT, saved={"type": "integer"}, saved_ratio={"type": ["number", "null"]}),
    options=record(
        quality=QUALITY,
        mode=choice(*Mode),
        format=choice(*TargetFormat),
        max_side=maybe(NUMBER),
    ),
    webhook_url=maybe(STRING),
    created_at=TIME,
    started_at=maybe(TIME),
    finished_at=maybe(TIME),
    eta_seconds=maybe(COUNT),
    links=record(**dict.fromkeys(LINKS, URI)),
)
FINDINGS = {"errors": {"type": "array", "maxItems": 100, "items": ref("RowError")}, "error_count": COUNT}
PRODUCT_IN = record(
    serial_number={"type": ["string", "integer"]},
    name=STRING,
    image_urls={"type": "array", "items": STRING, "minItems": 1},
)
DELIVERY = {
    "id": UUID,
    "event_id": UUID,
    "type": choice("request.completed", "request.failed", "request.cancelled"),
    "url": STRING,
    "status": choice(*DeliveryStatus),
    "next_attempt_at": maybe(TIME),
}
ATTEMPT = record(
    number=NUMBER,
    at=TIME,
    status_code={"type": ["integer", "null"]},
    error=maybe(STRING),
    duration_ms=COUNT,
    response_excerpt=STRING,
)
PROBLEM = record(type=STRING, title=STRING, status={"type": "integer"}, detail=STRING, code=STRING)
OLDER_STATUS = record(
    request_id=UUID,
    status=choice("pending", "processing", "completed", "failed"),
    progress={"type": "number"},
    total_images=COUNT,
    processed_images=COUNT,
    output_csv_url=maybe(URI),
)

SHAPES: dict[str, Json] = {
    "Request": REQUEST,
    "Accepted": {
        "allOf": [ref("Request")],
        "properties": FINDINGS,
        "description": "The request; with `on_invalid=skip` also what was left out.",
    },
    "Validation": record(valid=BOOLEAN, products=COUNT, images=COUNT, **FINDINGS),
    "Upload": {
        "type": "object",
        "properties": {"products": {"type": "array", "items": PRODUCT_IN, "minItems": 1}, **OPTIONS},
        "required": ["products"],
    },
    "Form": {
        "type": "object",
        "properties": {
            "file": {"type": "string", "contentMediaType": "text/csv", "description": "Also `csv_file`, `csvFile`."},
            **OPTIONS,
        },
        "required": ["file"],
    },
    "RowError": record(
        row=maybe(NUMBER) | {"description": "Counts data rows from 1."},
        line=maybe(NUMBER) | {"description": "Where the record begins; the header is line 1."},
        column=maybe(STRING),
        url_index=maybe(NUMBER),
        code=choice(*ROW_ERROR_CODES),
        detail=STRING,
        value=maybe(STRING),
    ),
    "Problem": PROBLEM | {"properties": PROBLEM["properties"] | FINDINGS},
    "Image": record(**IMAGE),
    "Product": record(
        row=NUMBER,
        serial_number=STRING,
        name=STRING,
        images={"type": "array", "items": {"allOf": [ref("Image"), record(position=NUMBER)]}},
    ),
    "Redelivery": record(**DELIVERY),
    "Delivery": record(**DELIVERY, attempts={"type": "array", "items": ATTEMPT, "maxItems": 50}),
    "OlderStatus": OLDER_STATUS,
    **{f"{shape}Page": page(shape) for shape in ("Request", "Product", "Image", "RowError", "Delivery")},
}
