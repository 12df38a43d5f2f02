"""/openapi.json for programs, and /docs for people: Swagger UI (static/), which asks no other host."""

import orjson
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from services.status.assets import STATIC, asset_of, load
from services.status.openapi import document

# Its own files: what the page for people is made of is served below other paths (page.py).
FILES = load(path for folder in (STATIC, STATIC / "swagger-ui", STATIC / "examples") for path in folder.iterdir())
# Seen in Chromium: Swagger UI needs no inline style, no inline script and no eval.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def routes(*, public_url: str, needs_keys: bool) -> list[Route]:
    described = orjson.dumps(document(public_url=public_url, needs_keys=needs_keys))

    def get_openapi(_: HttpRequest) -> Response:
        return Response(described, media_type="application/json", headers={"Cache-Control": "no-cache"})

    return [Route("/openapi.json", get_openapi), Route("/docs", get_docs), Route("/docs/{name:path}", get_asset)]


def get_docs(http_request: HttpRequest) -> Response:
    return asset_of(FILES, "docs.html").answer(http_request, POLICY)


def get_asset(http_request: HttpRequest) -> Response:
    return asset_of(FILES, http_request.path_params["name"]).answer(http_request, POLICY)
