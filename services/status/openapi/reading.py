"""The GET calls, which status answers; each answers HEAD too."""

from services.status.openapi.shapes import choice
from services.status.openapi.terms import (
    PAGE,
    REQUEST_ID,
    Json,
    answer,
    file_answer,
    header,
    operation,
    page_of,
    path_parameter,
    problems,
    query,
    ref,
)
from shared.formats import MEDIA_TYPES
from shared.lifecycle import ImageState, RequestStatus

IF_NONE_MATCH = header("If-None-Match", "The `ETag` of an earlier response.")
DETAILS = query(
    "details",
    {"type": "boolean", "default": False},
    "`true` (also `1`, `yes`, `on`) adds the columns Status and Errors.",
)
IMAGES = tuple(MEDIA_TYPES.values())

LIST = operation(
    "listRequests",
    "requests",
    "List requests, newest first",
    {"200": page_of("Request", "A page of requests."), **problems(400)},
    parameters=[*PAGE, query("status", choice(*RequestStatus), "Only requests with this status.")],
)
GET = operation(
    "getRequest",
    "requests",
    "Get a request and its progress",
    {
        "200": answer(
            "The request; with `Retry-After` until it is terminal.", ref("Request"), headers=("ETag", "Retry-After")
        ),
        "304": answer("Unchanged, apart from `eta_seconds`."),
        **problems(404),
    },
    parameters=[REQUEST_ID, IF_NONE_MATCH],
)
EVENTS = operation(
    "followRequest",
    "requests",
    "Follow a request by server-sent events",
    {
        "200": file_answer("`progress` events that carry the request, then `done`.", "text/event-stream"),
        "204": answer("`Last-Event-ID` is that of `done`: there is nothing more to follow."),
        **problems(404),
    },
    parameters=[REQUEST_ID, header("Last-Event-ID", "The id of the last event received.")],
)
PRODUCTS = operation(
    "listProducts",
    "results",
    "List products in input order, each image at its position",
    {
        "200": page_of("Product", "A page of products; it may hold fewer than `page_size` if they are long."),
        **problems(400, 404),
    },
    parameters=[REQUEST_ID, *PAGE],
)
REJECTED = operation(
    "listRejected",
    "results",
    "List the errors of the rows that were skipped (on_invalid=skip)",
    {"200": page_of("RowError", "A page of row errors."), **problems(400, 404)},
    parameters=[REQUEST_ID, *PAGE],
)
LIST_IMAGES = operation(
    "listImages",
    "results",
    "List images by number",
    {"200": page_of("Image", "A page of images."), **problems(400, 404)},
    parameters=[REQUEST_ID, *PAGE, query("status", choice(*ImageState), "Only images with this status.")],
)
SOURCE = operation(
    "getSource",
    "results",
    "Download the original of an image, as it was fetched",
    {"200": file_answer("The picture; its type is the one that was decoded.", *IMAGES), **problems(404, 410)},
    parameters=[REQUEST_ID, path_parameter("number", {"type": "integer", "minimum": 1}, "Number of the image.")],
)
OUTPUT_CSV = operation(
    "getOutputCsv",
    "results",
    "Download the output CSV",
    {
        "200": file_answer("The results so far; positions without a rendition are empty.", "text/csv"),
        **problems(400, 404),
    },
    parameters=[REQUEST_ID, DETAILS],
)
OUTPUTS_ZIP = operation(
    "getOutputsZip",
    "results",
    "Download all renditions as a zip, named by product",
    {
        "200": file_answer("A zip; its `MISSING.txt` lists files that no longer exist.", "application/zip"),
        **problems(404),
    },
    parameters=[REQUEST_ID],
)
DELIVERIES = operation(
    "listDeliveries",
    "webhooks",
    "List webhook deliveries with their last 50 attempts, newest first",
    {"200": page_of("Delivery", "A page of deliveries."), **problems(400, 404)},
    parameters=[REQUEST_ID, *PAGE],
)
FILE = operation(
    "getFile",
    "results",
    "Download a rendition; it needs no API key, as its name cannot be guessed",
    {
        "200": file_answer("The picture; it never changes.", *IMAGES, headers=("ETag", "Cache-Control")),
        "206": file_answer("The part named by `Range`.", *IMAGES, headers=("Content-Range",)),
        "302": answer("Redirect to a signed URL that is valid for a limited time.", headers=("Location",)),
        "304": answer("Unchanged."),
        **problems(404, 416),
    },
    parameters=[
        REQUEST_ID,
        path_parameter("name", {"type": "string"}, "`{sha256}.{extension}`, as in `output_url`."),
        header("Range", "A range of bytes."),
        IF_NONE_MATCH,
    ],
    security=[{}],
)


def _older(operation_id: str) -> Json:
    answers = {"200": answer("The status as one of four words.", ref("OlderStatus")), **problems(404)}
    return operation(
        operation_id,
        "older",
        "Get the progress of a request (older contract)",
        answers,
        parameters=[REQUEST_ID],
        deprecated=True,
    )


READING: dict[str, Json] = {
    "/v1/requests": {"get": LIST},
    "/v1/requests/{request_id}": {"get": GET},
    "/v1/requests/{request_id}/events": {"get": EVENTS},
    "/v1/requests/{request_id}/products": {"get": PRODUCTS},
    "/v1/requests/{request_id}/rejected": {"get": REJECTED},
    "/v1/requests/{request_id}/images": {"get": LIST_IMAGES},
    "/v1/requests/{request_id}/images/{number}/source": {"get": SOURCE},
    "/v1/requests/{request_id}/output.csv": {"get": OUTPUT_CSV},
    "/v1/requests/{request_id}/outputs.zip": {"get": OUTPUTS_ZIP},
    "/v1/requests/{request_id}/deliveries": {"get": DELIVERIES},
    "/files/{request_id}/out/{name}": {"get": FILE},
    "/status/{request_id}": {"get": _older("getStatus")},
    "/api/check-status/{request_id}/": {"get": _older("checkStatus")},
}
