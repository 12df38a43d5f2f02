"""/openapi.json for programs, and /docs for people: Swagger UI (static/), which asks no other host."""

from pathlib import Path

import orjson
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from services.status.openapi import document
from shared.http.problems import not_found

STATIC = Path(__file__).parent / "static"
# Its own names: what the page for people is made of is served below other paths (page.py).
FOLDERS = (STATIC, STATIC / "swagger-ui", STATIC / "examples")
NAMES = {path.relative_to(STATIC).as_posix() for folder in FOLDERS for path in folder.iterdir() if path.is_file()}
MEDIA_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
NOT_CACHED = {"Cache-Control": "no-cache"}
# Seen in Chromium: Swagger UI needs no inline style, no inline script and no eval.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


def routes(*, public_url: str, needs_keys: bool) -> list[Route]:
    described = orjson.dumps(document(public_url=public_url, needs_keys=needs_keys))

    def get_openapi(_: HttpRequest) -> Response:
        return Response(described, media_type="application/json", headers=NOT_CACHED)

    return [Route("/openapi.json", get_openapi), Route("/docs", get_docs), Route("/docs/{name:path}", get_asset)]


def get_docs(_: HttpRequest) -> Response:
    return _static("docs.html", NOT_CACHED)


def get_asset(http_request: HttpRequest) -> Response:
    """The page's scripts and styles; the page asks for them with their version."""
    return _static(http_request.path_params["name"], {"Cache-Control": "public, max-age=86400"})


def _static(name: str, caching: dict[str, str]) -> Response:
    if name not in NAMES:
        raise not_found("file")
    path = STATIC / name
    media_type = MEDIA_TYPES.get(path.suffix, "text/plain")
    return Response(path.read_bytes(), headers=HEADERS | caching, media_type=media_type)
