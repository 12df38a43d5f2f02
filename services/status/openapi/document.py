"""The document's frame: title, server, security, and the parts put together."""

from typing import Any

from services.status.openapi.reading import READING
from services.status.openapi.shapes import SHAPES
from services.status.openapi.writing import WRITING

DESCRIPTION = """Halftone turns a CSV of product image URLs into compressed images.

Upload a manifest, get a request id at once, watch `GET /v1/requests/{request_id}` (or its events, or wait for the
webhook), and take the output CSV with the new URLs. Errors are RFC 9457 problem documents; every answer carries
`X-Request-Id`."""


def document(*, public_url: str) -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {"title": "Halftone", "version": "1", "description": DESCRIPTION, "license": {"name": "MIT"}},
        "servers": [{"url": public_url}],
        "tags": [
            {"name": "requests", "description": "Upload manifests, watch and steer them."},
            {"name": "results", "description": "Products, images and files of a request."},
            {"name": "webhooks", "description": "What was told to whom, and how often."},
            {"name": "older", "description": "Two older contracts, kept alive."},
        ],
        "security": [{"apiKey": []}, {}],
        "paths": _merged(WRITING, READING),
        "components": {"schemas": SHAPES, "securitySchemes": {"apiKey": _API_KEY}},
    }


_API_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key, `ht_<id>_<secret>`, where keys are required.",
}


def _merged(*parts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Several services may answer under one path, by method."""
    paths: dict[str, dict[str, Any]] = {}
    for part in parts:
        for path, methods in part.items():
            paths[path] = paths.get(path, {}) | methods
    return paths
