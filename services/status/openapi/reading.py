"""What only reads: the GET calls, which status answers; each answers HEAD too."""

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

IF_NONE_MATCH = header("If-None-Match", "The `ETag` of an earlier answer.")
DETAILS = query(
    "details",
    {"type": "boolean", "default": False},
    "`true` (also `1`, `yes`, `on`) adds the columns Status and Errors.",
)
IMAGES = tuple(MEDIA_TYPES.values())

LIST = operation(
    "listRequests",
    "requests",
    "All requests, newest first",
    {"200": page_of("Request", "A page of requests."), **problems(400)},
    parameters=[*PAGE, query("status", choice(*RequestStatus), "Only those.")],
)
GET = operation(
    "getRequest",
    "requests",
    "How far it is",
    {
        "200": answer(
            "The request; `Retry-After` until it is terminal.", ref("Request"), headers=("ETag", "Retry-After")
        ),
        "304": answer("Nothing changed (`eta_seconds` aside)."),
        **problems(404),
    },
    parameters=[REQUEST_ID, IF_NONE_MATCH],
)
EVENTS = operation(
    "followRequest",
    "requests",
    "Follow it by server-sent events",
    {
        "200": file_answer("`progress` events with the request, then `done`.", "text/event-stream"),
        "204": answer("`Last-Event-ID` says that you have seen `done`."),
        **problems(404),
    },
    parameters=[REQUEST_ID, header("Last-Event-ID", "The id of the last event you saw.")],
)
PRODUCTS = operation(
    "listProducts",
    "results",
    "Products in input order, each image at its position",
    {
        "200": page_of("Product", "A page of products; fewer than `page_size` where they are long."),
        **problems(400, 404),
    },
    parameters=[REQUEST_ID, *PAGE],
)
REJECTED = operation(
    "listRejected",
    "results",
    "Row errors that `on_invalid=skip` left out",
    {"200": page_of("RowError", "A page of row errors."), **problems(400, 404)},
    parameters=[REQUEST_ID, *PAGE],
)
LIST_IMAGES = operation(
    "listImages",
    "results",
    "Images by number",
    {"200": page_of("Image", "A page of images."), **problems(400, 404)},
    parameters=[REQUEST_ID, *PAGE, query("status", choice(*ImageState), "Only those.")],
)
SOURCE = operation(
    "getSource",
    "results",
    "The original as it was fetched",
    {"200": file_answer("The picture, as the type that was decoded.", *IMAGES), **problems(404, 410)},
    parameters=[REQUEST_ID, path_parameter("number", {"type": "integer", "minimum": 1}, "The image's number.")],
)
OUTPUT_CSV = operation(
    "getOutputCsv",
    "results",
    "The output CSV",
    {"200": file_answer("As far as it is; positions without a rendition are empty.", "text/csv"), **problems(400, 404)},
    parameters=[REQUEST_ID, DETAILS],
)
OUTPUTS_ZIP = operation(
    "getOutputsZip",
    "results",
    "All renditions, named by product",
    {
        "200": file_answer("A zip; files that are gone are listed in its `MISSING.txt`.", "application/zip"),
        **problems(404),
    },
    parameters=[REQUEST_ID],
)
DELIVERIES = operation(
    "listDeliveries",
    "webhooks",
    "Deliveries with their last 50 attempts, newest first",
    {"200": page_of("Delivery", "A page of deliveries."), **problems(400, 404)},
    parameters=[REQUEST_ID, *PAGE],
)
FILE = operation(
    "getFile",
    "results",
    "A rendition; its name is the key to it",
    {
        "200": file_answer("The picture, immutable.", *IMAGES, headers=("ETag", "Cache-Control")),
        "206": file_answer("The part that `Range` asked for.", *IMAGES, headers=("Content-Range",)),
        "302": answer("Where it is kept, for a while.", headers=("Location",)),
        "304": answer("Unchanged, as always."),
        **problems(404, 416),
    },
    parameters=[
        REQUEST_ID,
        path_parameter("name", {"type": "string"}, "`{sha256}.{extension}`, from `output_url`."),
        header("Range", "One range of bytes."),
        IF_NONE_MATCH,
    ],
    security=[{}],
)


def _older(operation_id: str) -> Json:
    answers = {"200": answer("Four words of status.", ref("OlderStatus")), **problems(404)}
    return operation(
        operation_id, "older", "How far it is (older contract)", answers, parameters=[REQUEST_ID], deprecated=True
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
