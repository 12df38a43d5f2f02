"""The vocabulary in which the paths are written: parameters, bodies, answers."""

from typing import Any

Json = dict[str, Any]


def ref(shape: str) -> Json:
    return {"$ref": f"#/components/schemas/{shape}"}


def path_parameter(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": schema, "description": description}


def query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def header(name: str, description: str, schema: Json | None = None) -> Json:
    return {"name": name, "in": "header", "schema": schema or {"type": "string"}, "description": description}


def answer(description: str, schema: Json | None = None, *, headers: tuple[str, ...] = ()) -> Json:
    """A JSON answer, or one without a body."""
    found: Json = {"description": description}
    if schema is not None:
        found["content"] = {"application/json": {"schema": schema}}
    if headers:
        found["headers"] = {name: {"schema": {"type": "string"}} for name in headers}
    return found


def file_answer(description: str, *media_types: str, headers: tuple[str, ...] = ()) -> Json:
    content = {media_type: {"schema": {"type": "string"}} for media_type in media_types}
    return answer(description, headers=headers) | {"content": content}


def page_of(shape: str, description: str) -> Json:
    return answer(description, ref(f"{shape}Page"))


def problems(*statuses: int) -> Json:
    """Problem answers by status; 503 is possible everywhere."""
    return {
        str(status): {
            "description": PROBLEMS[status],
            "content": {"application/problem+json": {"schema": ref("Problem")}},
            **({"headers": {"Retry-After": {"schema": {"type": "string"}}}} if status == 503 else {}),
        }
        for status in (*statuses, 503)
    }


def operation(operation_id: str, tag: str, summary: str, answers: Json, **more: Any) -> Json:
    return {"operationId": operation_id, "tags": [tag], "summary": summary, **more, "responses": answers}


PROBLEMS = {
    400: "Malformed.",
    404: "Unknown, malformed or another account's.",
    408: "The upload came too slowly.",
    409: "The state does not allow it.",
    410: "It was there and is deleted.",
    413: "The upload is too large.",
    415: "This is no CSV (a zip, a PDF, a spreadsheet), or no accepted media type or charset.",
    416: "The range begins behind the end.",
    422: "Rows or options are invalid, or there is no such option.",
    503: "Not possible just now.",
}
UUID = {"type": "string", "format": "uuid"}
REQUEST_ID = path_parameter("request_id", UUID, "The id from the 202.")
PAGE = [
    query("page_size", {"type": "integer", "minimum": 1, "default": 50}, "Items a page; above 200 means 200."),
    query("page_token", {"type": "string"}, "`next_page_token` of the page before."),
]
FOLLOWED = ("Location", "Retry-After")
ACCEPTED = (*FOLLOWED, "Idempotent-Replayed")
