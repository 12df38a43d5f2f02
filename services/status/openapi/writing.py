"""The POST and DELETE calls, which ingest answers."""

from services.status.openapi.shapes import OPTIONS
from services.status.openapi.terms import (
    ACCEPTED,
    FOLLOWED,
    REQUEST_ID,
    UUID,
    Json,
    answer,
    header,
    operation,
    path_parameter,
    problems,
    query,
    ref,
)

OPTION_PARAMETERS = [query(name, schema, schema["description"]) for name, schema in OPTIONS.items()]
BODY: Json = {
    "required": True,
    "content": {
        "multipart/form-data": {"schema": ref("Form")},
        "text/csv": {"schema": {"type": "string"}},
        "application/json": {"schema": ref("Upload")},
    },
}
IDEMPOTENCY_KEY = header(
    "Idempotency-Key",
    "Repeating an upload with the same key and content returns the first response again, with "
    "`Idempotent-Replayed: true`. Keys are kept for 24 hours.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
)

CREATE = operation(
    "createRequest",
    "requests",
    "Upload a manifest",
    {
        "202": answer("Accepted and stored.", ref("Accepted"), headers=ACCEPTED),
        "200": answer("With `validate_only`: what would be accepted, and the errors.", ref("Validation")),
        **problems(400, 408, 409, 413, 415, 422),
    },
    parameters=[*OPTION_PARAMETERS, IDEMPOTENCY_KEY],
    requestBody=BODY,
)
RETRY = operation(
    "retryRequest",
    "requests",
    "Run the failed and cancelled images again",
    {
        "202": answer("A new run has started.", ref("Request"), headers=FOLLOWED),
        **problems(404, 409),
    },
    parameters=[REQUEST_ID],
)
CANCEL = operation(
    "cancelRequest",
    "requests",
    "Cancel all images that are not finished",
    {"202": answer("The request will be cancelled shortly.", ref("Request"), headers=FOLLOWED), **problems(404, 409)},
    parameters=[REQUEST_ID],
)
DELETE = operation(
    "deleteRequest",
    "requests",
    "Delete a finished request, its files and its pending deliveries",
    {"204": answer("Deleted."), **problems(404, 409)},
    parameters=[REQUEST_ID],
)
REDELIVER = operation(
    "redeliver",
    "webhooks",
    "Send a webhook delivery again, with the same webhook-id",
    {"202": answer("It is sent as soon as possible.", ref("Redelivery")), **problems(404)},
    parameters=[path_parameter("delivery_id", UUID, "Id of the delivery.")],
)


def _older(operation_id: str, status: str) -> Json:
    answers = {status: answer("Accepted.", ref("Accepted"), headers=ACCEPTED), **problems(400)}
    return operation(
        operation_id, "older", "Upload a manifest (older contract)", answers, requestBody=BODY, deprecated=True
    )


WRITING: dict[str, Json] = {
    "/v1/requests": {"post": CREATE},
    "/v1/requests/{request_id}": {"delete": DELETE},
    "/v1/requests/{request_id}/retry": {"post": RETRY},
    "/v1/requests/{request_id}/cancel": {"post": CANCEL},
    "/v1/deliveries/{delivery_id}/redeliver": {"post": REDELIVER},
    "/upload": {"post": _older("upload", "200")},
    "/api/upload-csv/": {"post": _older("uploadCsv", "202")},
}
