"""Builders for the parameters, bodies and responses of the paths."""

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
    """A response with a JSON body, or without one."""
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
    """Problem responses by status; 503 is possible everywhere."""
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
    400: "The call is malformed.",
    404: "The id is unknown or malformed, or belongs to another account.",
    408: "The upload is too slow.",
    409: "The current state does not allow this.",
    410: "The file has been deleted.",
    413: "The upload is too large.",
    415: "The upload is not a CSV (but a zip, a PDF or a spreadsheet), or has another media type or charset.",
    416: "The range starts after the end of the file.",
    422: "Rows or options are invalid, or an option is unknown.",
    503: "Temporarily unavailable.",
}
UUID = {"type": "string", "format": "uuid"}
REQUEST_ID = path_parameter("request_id", UUID, "Id of the request, as in the response to the upload.")
PAGE = [
    query("page_size", {"type": "integer", "minimum": 1, "default": 50}, "Items per page; values above 200 mean 200."),
    query("page_token", {"type": "string"}, "`next_page_token` of the previous page."),
]
FOLLOWED = ("Location", "Retry-After")
ACCEPTED = (*FOLLOWED, "Idempotent-Replayed")
