"""The components of the document: responses, made from `shared.schemas.api`, and uploads."""

from typing import Any

from pydantic.json_schema import models_json_schema

from shared.http.context import BOOLEANS
from shared.recipe import Mode, TargetFormat
from shared.schemas import accounts_api, api, deliveries_api, report_api

Json = dict[str, Any]
ANSWERS = (
    *(api.Request, api.Accepted, api.Validation, api.RowError, api.Problem, api.Image, api.Product),
    *(deliveries_api.Redelivery, deliveries_api.Delivery, api.OlderStatus, report_api.Report),
    *(accounts_api.Account, accounts_api.Key, accounts_api.NewKey, accounts_api.SigningSecret, accounts_api.AuditEntry),
)
ORDERS = (accounts_api.KeyOrder, accounts_api.RotationOrder)
NAMES = {kind.__name__ for kind in (*ANSWERS, *ORDERS)}
PAGED = (
    api.Request,
    api.Product,
    api.Image,
    api.RowError,
    deliveries_api.Delivery,
    accounts_api.Key,
    accounts_api.AuditEntry,
)
NULL: Json = {"type": "null"}


def ref(shape: str) -> Json:
    return {"$ref": f"#/components/schemas/{shape}"}


def answers() -> dict[str, Json]:
    """The answered shapes by name, and those of JSON bodies that are read by a model."""
    _, answered = models_json_schema([(kind, "serialization") for kind in ANSWERS], ref_template="{model}")
    _, ordered = models_json_schema([(kind, "validation") for kind in ORDERS], ref_template="{model}")
    schemas: dict[str, Json] = answered["$defs"] | ordered["$defs"]
    return {kind.__name__: _written(schemas[kind.__name__], schemas) for kind in (*ANSWERS, *ORDERS)}


def _written(node: Any, schemas: dict[str, Json]) -> Any:
    """Pydantic's schema without titles, and with a shape that has no name in the API written where it is used."""
    if isinstance(node, list):
        return [_written(item, schemas) for item in node]
    if not isinstance(node, dict):
        return node
    if name := node.get("$ref"):
        return ref(name) if name in NAMES else _written(schemas[name], schemas) | _without(node, "$ref")
    found = {key: _written(value, schemas) for key, value in node.items() if key != "title" or isinstance(value, dict)}
    if found.get("anyOf", [])[1:] == [NULL]:
        inner = found["anyOf"][0]
        if isinstance(inner.get("type"), str) and "enum" not in inner:
            return inner | _without(found, "anyOf") | {"type": [inner["type"], "null"]}
    return found


def _without(node: Json, key: str) -> Json:
    return {name: value for name, value in node.items() if name != key}


def page(shape: str) -> Json:
    items = {"type": "array", "items": ref(shape)}
    token = {"type": ["string", "null"], "description": "Null on the last page."}
    return {
        "type": "object",
        "properties": {"items": items, "next_page_token": token},
        "required": ["items", "next_page_token"],
    }


def choice(*values: str) -> Json:
    return {"type": "string", "enum": [str(value) for value in values]}


WEBHOOK_URL: Json = {"type": ["string", "null"], "format": "uri"}
OPTIONS: dict[str, Json] = {
    "webhook_url": WEBHOOK_URL | {"description": "Called when the request is finished."},
    "webhookUrl": WEBHOOK_URL | {"description": "The same; `webhook_url` takes precedence."},
    "quality": {
        "type": "integer",
        "minimum": 1,
        "maximum": 95,
        "default": 50,
        "description": "1 to 95; `mode` says what it means.",
    },
    "mode": choice(*Mode)
    | {
        "default": "absolute",
        "description": "`absolute`: the encoder's quality; `relative`: percent of the source's own quality; "
        "`bytes`: the best quality within so many percent of the source's bytes.",
    },
    "format": choice(*TargetFormat)
    | {"default": "keep", "description": "Format of the renditions; `keep` keeps that of the source."},
    "max_side": {
        "type": ["integer", "null"],
        "minimum": 1,
        "maximum": 65535,
        "description": "Longest side in pixels; smaller images are never enlarged.",
    },
    "on_invalid": choice("reject", "skip")
    | {"default": "reject", "description": "`skip` accepts the valid rows and lists the others."},
    "validate_only": {
        "type": "boolean",
        "default": False,
        "description": "Check the manifest and store nothing. As text also `1 yes on 0 no off`. "
        "Not in the `older` contracts.",
    },
}
CSV_FILE: Json = {
    "type": "string",
    "contentMediaType": "application/octet-stream",  # what OpenAPI 3.1 calls a file: a part with a file name
    "description": "The manifest, as a file. The field may also be named `csv_file` or `csvFile`.",
}
PRODUCT_IN: Json = {
    "type": "object",
    "properties": {
        "serial_number": {"type": ["string", "integer"]},
        "name": {"type": "string", "minLength": 1},
        "image_urls": {"type": "array", "items": {"type": "string", "format": "uri"}, "minItems": 1},
    },
    "required": ["serial_number", "name", "image_urls"],
}
# The older contracts ignore names that they do not know.
OLDER_OPTIONS = _without(OPTIONS, "validate_only")
PRODUCTS_IN: Json = {"type": "array", "items": PRODUCT_IN, "minItems": 1}
VALIDATE_ONLY: Json = OPTIONS["validate_only"] | {
    "type": ["boolean", "integer", "string", "null"],
    "enum": [True, False, None, 1, 0, *BOOLEANS],
}
EVENT: Json = {
    "type": "object",
    "description": "One server-sent event.",
    "properties": {
        "id": {"type": "string", "description": "For `Last-Event-ID`."},
        "event": choice("progress", "done"),
        "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": ref("Request")},
    },
    "required": ["id", "event", "data"],
}


WEBHOOK_EVENT: Json = {
    "type": "object",
    "description": "The body of a webhook; `data` is the request as `GET` shows it.",
    "properties": {
        "type": choice("request.completed", "request.failed", "request.cancelled"),
        "timestamp": {"type": "string", "format": "date-time"},
        "data": ref("Request"),
    },
    "required": ["type", "timestamp", "data"],
}


def upload(options: Json) -> Json:
    """A manifest as JSON, in which an option may also be null: not given."""
    nullable = {name: _nullable(schema) for name, schema in options.items()}
    return {"type": "object", "properties": {"products": PRODUCTS_IN, **nullable}, "required": ["products"]}


def form(options: Json) -> Json:
    return {"type": "object", "properties": {"file": CSV_FILE, **options}, "required": ["file"]}


def _nullable(schema: Json) -> Json:
    if isinstance(schema["type"], list):
        return schema
    values = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return schema | {"type": [schema["type"], "null"]} | values


SHAPES: dict[str, Json] = {
    **answers(),
    "Upload": upload(OPTIONS | {"validate_only": VALIDATE_ONLY}),
    "OlderUpload": upload(OLDER_OPTIONS),
    "Form": form(OPTIONS),
    "OlderForm": form(OLDER_OPTIONS),
    "Event": EVENT,
    "WebhookEvent": WEBHOOK_EVENT,
    **{f"{kind.__name__}Page": page(kind.__name__) for kind in PAGED},
}
