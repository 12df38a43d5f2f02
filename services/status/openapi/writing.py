"""What changes something: the POST and DELETE calls, which ingest answers."""

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

OPTION_PARAMETERS = [query(name, schema, schema.get("description", "Option.")) for name, schema in OPTIONS.items()]
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
    "Same key and same content: the first answer again, with `Idempotent-Replayed: true`. Kept for 24 hours.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
)

CREATE = operation(
    "createRequest",
    "requests",
    "Upload a manifest",
    {
        "202": answer("Accepted; nothing will be lost from here on.", ref("Accepted"), headers=ACCEPTED),
        "200": answer("With `validate_only`: what would be accepted, and what is wrong.", ref("Validation")),
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
        "202": answer("A new run has begun.", ref("Request"), headers=FOLLOWED),
        **problems(404, 409),
    },
    parameters=[REQUEST_ID],
)
CANCEL = operation(
    "cancelRequest",
    "requests",
    "Cancel what is not settled",
    {"202": answer("It will be cancelled shortly.", ref("Request"), headers=FOLLOWED), **problems(404, 409)},
    parameters=[REQUEST_ID],
)
DELETE = operation(
    "deleteRequest",
    "requests",
    "Delete a finished request, its files and its pending deliveries",
    {"204": answer("Gone."), **problems(404, 409)},
    parameters=[REQUEST_ID],
)
REDELIVER = operation(
    "redeliver",
    "webhooks",
    "Send a delivery again, with the same webhook-id",
    {"202": answer("Due now.", ref("Redelivery")), **problems(404)},
    parameters=[path_parameter("delivery_id", UUID, "The delivery.")],
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
