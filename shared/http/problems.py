"""RFC 9457 problem documents: the shape of every error answer."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from shared.errors import HalftoneError

MEDIA_TYPE = "application/problem+json"
TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    408: "Request timeout",
    409: "Conflict",
    410: "Gone",
    413: "Content too large",
    415: "Unsupported media type",
    416: "Range not satisfiable",
    421: "Misdirected request",
    422: "Unprocessable content",
    429: "Too many requests",
    500: "Internal error",
    503: "Service unavailable",
}


class Problem(HalftoneError):
    """An error answer. `members`: what its document has besides (`errors`, `error_count`)."""

    def __init__(
        self, status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.members = members
        self.headers = dict(headers or {})

    def document(self, *, status: int | None = None) -> dict[str, Any]:
        """The JSON of the answer."""
        status = status or self.status
        return {
            "type": f"/docs/problems/{self.code}",
            "title": TITLES.get(status, "Error"),
            "status": status,
            "detail": self.detail,
            "code": self.code,
            **self.members,
        }

    def response(self, *, status: int | None = None) -> Response:
        """The HTTP answer; the older contracts override `status`, because they have only 400."""
        body = orjson.dumps(self.document(status=status))
        return Response(body, status or self.status, headers=self.headers, media_type=MEDIA_TYPE)


def not_found(what: str | None = None) -> Problem:
    """For an unknown path, or an unknown key of a `what`."""
    key = {"image": "number", "file": "name", "page": "name"}.get(what or "", "id")
    return Problem(404, "not_found", f"No {what} with this {key}." if what else "Nothing exists at this path.")


def unavailable() -> Problem:
    return Problem(
        503, "unavailable", "The database does not answer in time; try again soon.", headers={"Retry-After": "5"}
    )
