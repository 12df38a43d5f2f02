"""The calls of the public API, those of ingest too: one line each, then how they differ. Each GET answers HEAD as well.

Derived: the parameters in a path, 404 for a path with an id, 503 for every call, and all that is the same for pages.
"""

import re
from collections.abc import Sequence

from services.status.images import ImageOrder
from services.status.openapi import examples
from services.status.openapi.refusals import OLDER, refusals
from services.status.openapi.shapes import OPTIONS, Json, choice, ref
from services.status.problems.registry import PROBLEM_TYPES, example
from shared.formats import MEDIA_TYPES
from shared.lifecycle import ImageState, RequestStatus

ONE, KEY = "/v1/requests/{request_id}", "/v1/keys/{key_id}"
CALLS: dict[str, tuple[str, str, str, tuple[int, ...]]] = {  # tag, method and path, summary, errors
    "createRequest": ("requests", "post /v1/requests", "Upload a manifest", (400, 408, 409, 413, 415, 422)),
    "listRequests": ("requests", "get /v1/requests", "List requests, newest first", (400,)),
    "getRequest": ("requests", f"get {ONE}", "Get a request and its progress", ()),
    "followRequest": ("requests", f"get {ONE}/events", "Follow a request by server-sent events", ()),
    "retryRequest": ("requests", f"post {ONE}/retry", "Run the failed and cancelled images again", (409,)),
    "cancelRequest": ("requests", f"post {ONE}/cancel", "Cancel all images that are not finished", (409,)),
    "deleteRequest": ("requests", f"delete {ONE}", "Delete a finished request and all that belongs to it", (409,)),
    "listProducts": ("results", f"get {ONE}/products", "List products in input order with their images", (400,)),
    "listRejected": ("results", f"get {ONE}/rejected", "List the row errors that on_invalid=skip left out", (400,)),
    "listImages": ("results", f"get {ONE}/images", "List images by number, or by what they save", (400,)),
    "getReport": ("results", f"get {ONE}/report", "Get figures over all images of a request", ()),
    "getSource": ("results", f"get {ONE}/images/{{number}}/source", "Download the original of an image", (410,)),
    "getOutputCsv": ("results", f"get {ONE}/output.csv", "Download the output CSV", (400,)),
    "getOutputsZip": ("results", f"get {ONE}/outputs.zip", "Download all renditions as a zip, named by product", ()),
    "getFile": ("results", "get /files/{request_id}/out/{name}", "Download a rendition; needs no API key", (416,)),
    "listDeliveries": ("webhooks", f"get {ONE}/deliveries", "List webhook deliveries, newest first", (400,)),
    "redeliver": ("webhooks", "post /v1/deliveries/{delivery_id}/redeliver", "Send a webhook delivery again", (409,)),
    "getAccount": ("account", "get /v1/account", "Get the account of this key, its limits and the key's scopes", ()),
    "listKeys": ("account", "get /v1/keys", "List API keys, newest first", (400,)),
    "createKey": ("account", "post /v1/keys", "Create an API key", (400, 408, 409, 413, 422)),
    "rotateKey": ("account", f"post {KEY}/rotate", "Replace an API key by a new one", (400, 408, 409, 413, 422)),
    "revokeKey": ("account", f"delete {KEY}", "Revoke an API key; it is refused within 5 seconds", ()),
    "rotateSigningSecret": ("account", "post /v1/account/signing-secret/rotate", "Replace the signing secret", ()),
    "listAudit": ("account", "get /v1/audit", "List what was done to the account, newest first", (400,)),
    "upload": ("older", "post /upload", "Upload a manifest (older contract)", (400,)),
    "uploadCsv": ("older", "post /api/upload-csv/", "Upload a manifest (older contract)", (400,)),
    "getStatus": ("older", "get /status/{request_id}", "Get the progress (older contract)", ()),
    "checkStatus": ("older", "get /api/check-status/{request_id}/", "Get the progress (older contract)", ()),
}
LISTED = {
    "listRequests": "Request",
    "listProducts": "Product",
    "listRejected": "RowError",
    "listImages": "Image",
    "listDeliveries": "Delivery",
    "listKeys": "Key",
    "listAudit": "AuditEntry",
}
TEXT: Json = {"type": "string"}
KEY_ID: Json = {"type": "string", "pattern": "^[a-z2-7]{12}$"}
UUID: Json = {"type": "string", "format": "uuid"}
RATES = {
    "RateLimit": {
        "description": "What is left of each rate of the account, where API keys are required: `r` calls for `t` "
        "seconds (draft-ietf-httpapi-ratelimit-headers-10).",
        "schema": {"type": "string", "pattern": r'^"\w+";r=\d+;t=\d+(, "\w+";r=\d+;t=\d+)*$'},
        "example": '"calls";r=49;t=1',
    },
    "RateLimit-Policy": {
        "description": "The rates of the account: `q` calls in `w` seconds.",
        "schema": {"type": "string", "pattern": r'^"\w+";q=\d+;w=\d+(, "\w+";q=\d+;w=\d+)*$'},
        "example": '"calls";q=50;w=1',
    },
}
RETRY_AFTER: Json = {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}
JSON, PICTURE = ("application/json",), tuple(MEDIA_TYPES.values())
STREAM = ("text/event-stream",)
FOLLOWED = ("Location", "Retry-After")
ACCEPTED = (*FOLLOWED, "Idempotent-Replayed")


def response(
    description: str,
    media_types: Sequence[str] = (),
    schema: Json = TEXT,
    *,
    headers: Sequence[str] = (),
    shown: Sequence[str] = (),
) -> Json:
    """`shown`: which examples of the shape, if not all."""
    content = {media_type: {"schema": schema} | _shown(media_type, schema, shown) for media_type in media_types}
    parts = {"content": content, "headers": {name: header(name) for name in headers}}
    return {"description": description, **{name: part for name, part in parts.items() if part}}


def header(name: str) -> Json:
    """A header, with an example."""
    if name in RATES:
        return {"$ref": f"#/components/headers/{name}"}
    shown = {"example": examples.HEADERS[name]} if name in examples.HEADERS else {}
    return (RETRY_AFTER if name == "Retry-After" else {"schema": TEXT}) | shown


def _shown(media_type: str, schema: Json, names: Sequence[str] = ()) -> Json:
    """Examples of a body: those of its shape, or a text."""
    if schema == TEXT:
        return {"example": examples.TEXTS.get(media_type, f"(the bytes of an {media_type} file)")}
    shape = schema["$ref"].rpartition("/")[2]
    names = names or tuple(examples.EXAMPLES.get(shape, {}))
    return {"examples": {name: {"$ref": f"#/components/examples/{shape}.{name}"} for name in names}} if names else {}


def parameter(place: str, name: str, description: str, schema: Json = TEXT) -> Json:
    return {"name": name, "in": place, "schema": schema, "description": description}


IN_PATH = {
    "request_id": parameter("path", "request_id", "Id of the request, as in the response to the upload.", UUID),
    "delivery_id": parameter("path", "delivery_id", "Id of the delivery.", UUID),
    "key_id": parameter("path", "key_id", "Id of the key: the part after `ht_`.", KEY_ID),
    "number": parameter("path", "number", "Number of the image.", {"type": "integer", "minimum": 1}),
    "name": parameter("path", "name", "`{sha256}.{extension}`, as in `output_url`."),
}
IF_NONE_MATCH = parameter("header", "If-None-Match", "The `ETag` of an earlier response.")
IDEMPOTENCY_KEY = parameter(
    "header",
    "Idempotency-Key",
    "Repeating an upload with the same key and content returns the first response again, with "
    "`Idempotent-Replayed: true`. Keys are kept for 24 hours.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
)
SIZE: Json = {"type": "integer", "minimum": 1, "default": 50}
PAGE = [
    parameter("query", "page_size", "Items per page; values above 200 mean 200.", SIZE),
    parameter("query", "page_token", "`next_page_token` of the previous page."),
]
KEPT_ORIGINAL = (
    "`true`: only images whose image data is the source's, because no encoding of it was smaller; `false`: only images "
    "that were encoded. Images without a rendition are in neither."
)
SORT = (
    "`number`, or by the bytes that the rendition saves: `-saved` begins with the most, `saved` with the least. Images "
    "without a rendition come last in both. A `page_token` is valid for one order only."
)
YES_OR_NO: Json = {"type": "boolean", "default": False}
PARAMETERS: dict[str, list[Json]] = {
    "createRequest": [
        *(parameter("query", name, schema["description"], schema) for name, schema in OPTIONS.items()),
        IDEMPOTENCY_KEY,
    ],
    "listRequests": [parameter("query", "status", "Only requests with this status.", choice(*RequestStatus))],
    "getRequest": [IF_NONE_MATCH],
    "followRequest": [parameter("header", "Last-Event-ID", "The id of the last event received.")],
    "listImages": [
        parameter("query", "status", "Only images with this status.", choice(*ImageState)),
        parameter("query", "kept_original", KEPT_ORIGINAL, {"type": "boolean"}),
        parameter("query", "sort", SORT, choice(*ImageOrder) | {"default": "number"}),
    ],
    "getReport": [IF_NONE_MATCH],
    "getOutputCsv": [
        parameter("query", "details", "`true` (also `1`, `yes`, `on`) adds the columns Status and Errors.", YES_OR_NO)
    ],
    "getFile": [parameter("header", "Range", "A range of bytes."), IF_NONE_MATCH],
}
OLDER_STATUS = {200: response("The status as one of four words.", JSON, ref("OlderStatus"))}
RESPONSES: dict[str, dict[int, Json]] = {
    "createRequest": {
        202: response("Accepted and stored.", JSON, ref("Accepted"), headers=ACCEPTED),
        200: response("With `validate_only`: what would be accepted, and the errors.", JSON, ref("Validation")),
    },
    "getRequest": {
        200: response(
            "With `Retry-After` until it is terminal.", JSON, ref("Request"), headers=("ETag", "Retry-After")
        ),
        304: response("Unchanged, apart from `eta_seconds` and `images_per_second`."),
    },
    "getReport": {
        200: response(
            "As of one moment. With an `ETag` once the request is terminal.", JSON, ref("Report"), headers=("ETag",)
        ),
        304: response("Unchanged, apart from `as_of`."),
    },
    "followRequest": {
        200: response("`progress` events that carry the request, then `done`.", STREAM, ref("Event")),
        204: response("`Last-Event-ID` is that of `done`: there is nothing more to follow."),
    },
    "retryRequest": {
        202: response("A new run has started.", JSON, ref("Request"), headers=FOLLOWED, shown=["retried"])
    },
    "cancelRequest": {
        202: response("It will be cancelled shortly.", JSON, ref("Request"), headers=FOLLOWED, shown=["processing"])
    },
    "deleteRequest": {204: response("Deleted, with its files and its pending deliveries.")},
    "getSource": {200: response("As it was fetched; its type is the one that was decoded.", PICTURE)},
    "getOutputCsv": {200: response("The results so far; positions without a rendition are empty.", ["text/csv"])},
    "getOutputsZip": {200: response("`MISSING.txt` lists files that no longer exist.", ["application/zip"])},
    "getFile": {
        200: response("It never changes, and its name cannot be guessed.", PICTURE, headers=("ETag", "Cache-Control")),
        206: response("The part named by `Range`.", PICTURE, headers=["Content-Range"]),
        307: response("Redirect to a signed URL that is valid for a limited time.", headers=["Location"]),
        304: response("Unchanged."),
    },
    "redeliver": {202: response("It is sent soon, with the same webhook-id.", JSON, ref("Redelivery"))},
    "upload": {200: response("Accepted.", JSON, ref("Accepted"), headers=ACCEPTED)},
    "uploadCsv": {202: response("Accepted.", JSON, ref("Accepted"), headers=ACCEPTED)},
    "getAccount": {200: response("The account, as this key sees it.", JSON, ref("Account"))},
    "createKey": {201: response("The key; it is shown this once.", JSON, ref("NewKey"))},
    "rotateKey": {201: response("The new key; the old one expires after the overlap.", JSON, ref("NewKey"))},
    "revokeKey": {204: response("Revoked.")},
    "rotateSigningSecret": {200: response("For 24 hours both sign.", JSON, ref("SigningSecret"))},
    "getStatus": OLDER_STATUS,
    "checkStatus": OLDER_STATUS,
}


def manifest(*, older: str = "") -> Json:
    """The body of an upload; `older` is the prefix of the shapes of the older contracts."""
    form = {"schema": ref(f"{older}Form"), "encoding": {"file": {"contentType": "text/csv"}}}
    content = {"multipart/form-data": form, "text/csv": {"example": examples.CSV}, **order(f"{older}Upload")}
    return {"requestBody": {"required": True, "content": content}}


def order(shape: str) -> Json:
    """A JSON body."""
    return {"application/json": {"schema": ref(shape)} | _shown("application/json", ref(shape))}


MORE: dict[str, Json] = {
    "createRequest": manifest(),
    "upload": manifest(older="Older"),
    "uploadCsv": manifest(older="Older"),
    "createKey": {"requestBody": {"content": order("KeyOrder")}},
    "rotateKey": {"requestBody": {"content": order("RotationOrder")}},
    "getFile": {"security": [{}]},
}


def paths() -> dict[str, Json]:
    """The operations by path and method."""
    found: dict[str, Json] = {}
    for name, (tag, call, summary, errors) in CALLS.items():
        method, path = call.split()
        in_path = [IN_PATH[key] | {"required": True} for key in re.findall(r"{(\w+)}", path)]
        parameters = PARAMETERS.get(name, [])
        if shape := LISTED.get(name):
            page = response("The page; it may hold fewer items than `page_size`.", JSON, ref(f"{shape}Page"))
            own, parameters = {200: page}, [*PAGE, *parameters]
        else:
            own = RESPONSES[name]
        statuses = (*errors, 404) if in_path else errors
        problems = _problems(name, method, statuses, needs_key=name != "getFile")
        known = {"operationId": name, "tags": [tag], "summary": summary, **MORE.get(name, {})}
        found.setdefault(path, {})[method] = known | {
            **({"deprecated": True} if tag == "older" else {}),
            "parameters": [*in_path, *parameters],
            "responses": {str(status): one for status, one in _with_rates(own | problems).items()},
        }
    return found


def _problems(call: str, method: str, statuses: Sequence[int], *, needs_key: bool) -> dict[int, Json]:
    """The answers that are problems, each with its codes, which lead to their pages, and an example of each."""
    headers = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}
    found = {}
    for status, codes in refusals(call, method, statuses, needs_key=needs_key).items():
        text = "\n".join(f"- [`{code}`](/docs/problems/{code}): {PROBLEM_TYPES[code].title}." for code in codes)
        one = response(text, headers=headers.get(status, ()))
        prefix = "older." if call in OLDER and status == 400 else ""
        shown = {code: {"$ref": f"#/components/examples/{prefix}{code}"} for code in codes}
        found[status] = one | {"content": {"application/problem+json": {"schema": ref("Problem"), "examples": shown}}}
    return found


def shown_examples() -> dict[str, Json]:
    """The examples that the responses refer to."""
    found = {f"{shape}.{name}": value for shape, named in examples.EXAMPLES.items() for name, value in named.items()}
    found |= {code: example(code) for code in PROBLEM_TYPES}
    older = {code for call in OLDER for code in refusals(call, "post", (), needs_key=True)[400]}
    found |= {f"older.{code}": example(code, status=400) for code in sorted(older)}
    return {name: {"value": value} for name, value in found.items()}


def _with_rates(responses: dict[int, Json]) -> dict[int, Json]:
    """The headers of rates in each answer that comes after the key was judged; a call without a key has no 401."""
    if 401 not in responses:
        return responses
    rates = {name: header(name) for name in RATES}
    return {
        status: one if status in {401, 403, 421} else one | {"headers": one.get("headers", {}) | rates}
        for status, one in responses.items()
    }
