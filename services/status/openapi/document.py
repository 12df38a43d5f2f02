"""The document as a whole: title, server, security, paths and components."""

from typing import Any

from services.status.openapi.reading import READING
from services.status.openapi.shapes import SHAPES
from services.status.openapi.writing import WRITING

DESCRIPTION = """Halftone turns a CSV of product image URLs into compressed images.

Upload a CSV manifest and get a request id at once. Poll `GET /v1/requests/{request_id}`, follow its events, or wait for
the webhook; then download the output CSV with the new URLs. Errors are RFC 9457 problem documents, and every response
has an `X-Request-Id`."""


def document(*, public_url: str) -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {"title": "Halftone", "version": "1", "description": DESCRIPTION, "license": {"name": "MIT"}},
        "servers": [{"url": public_url}],
        "tags": [
            {"name": "requests", "description": "Upload manifests, follow, cancel, retry and delete requests."},
            {"name": "results", "description": "Products, images and files of a request."},
            {"name": "webhooks", "description": "Webhook deliveries of a request, with their attempts."},
            {"name": "older", "description": "Two older contracts, kept for existing clients."},
        ],
        "security": [{"apiKey": []}, {}],
        "paths": _merged(WRITING, READING),
        "components": {"schemas": SHAPES, "securitySchemes": {"apiKey": _API_KEY}},
    }


_API_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key, `ht_<id>_<secret>`, if the server requires keys.",
}


def _merged(*parts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Two services may answer the same path with different methods."""
    paths: dict[str, dict[str, Any]] = {}
    for part in parts:
        for path, methods in part.items():
            paths[path] = paths.get(path, {}) | methods
    return paths
