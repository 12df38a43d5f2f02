"""Every path of the API with its methods.

The gateway routes by method to ingest or status, so each service answers 405 with the methods of both.
"""

from collections.abc import Mapping

READ = ("GET", "HEAD")
UPLOADS = ("/v1/requests", "/upload", "/api/upload-csv/")
"""Paths whose POST has a body."""

METHODS: Mapping[str, tuple[str, ...]] = {
    "/v1/requests": (*READ, "POST"),
    "/v1/requests/{request_id}": (*READ, "DELETE"),
    "/v1/requests/{request_id}/retry": ("POST",),
    "/v1/requests/{request_id}/cancel": ("POST",),
    "/v1/requests/{request_id}/events": READ,
    "/v1/requests/{request_id}/products": READ,
    "/v1/requests/{request_id}/rejected": READ,
    "/v1/requests/{request_id}/images": READ,
    "/v1/requests/{request_id}/images/{number}/source": READ,
    "/v1/requests/{request_id}/output.csv": READ,
    "/v1/requests/{request_id}/outputs.zip": READ,
    "/v1/requests/{request_id}/deliveries": READ,
    "/v1/deliveries/{delivery_id}/redeliver": ("POST",),
    "/files/{key:path}": READ,
    "/upload": ("POST",),
    "/status/{request_id}": READ,
    "/status/{request_id}/": READ,
    "/api/upload-csv/": ("POST",),
    "/api/check-status/{request_id}": READ,
    "/api/check-status/{request_id}/": READ,
    "/openapi.json": READ,
    "/docs": READ,
    "/docs/{name:path}": READ,
}
