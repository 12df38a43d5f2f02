"""Every path of the API with its methods.

The gateway routes by method to ingest or status, so each service answers 405 with the methods of both.
"""

from collections.abc import Mapping
from typing import Literal

from shared.schemas.accounts import KeyScope

READ = ("GET", "HEAD")
UPLOADS = ("/v1/requests", "/upload", "/api/upload-csv/")
"""Paths whose POST brings a manifest."""

METHODS: Mapping[str, tuple[str, ...]] = {
    "/v1/requests": (*READ, "POST"),
    "/v1/requests/{request_id}": (*READ, "DELETE"),
    "/v1/requests/{request_id}/retry": ("POST",),
    "/v1/requests/{request_id}/cancel": ("POST",),
    "/v1/requests/{request_id}/events": READ,
    "/v1/requests/{request_id}/products": READ,
    "/v1/requests/{request_id}/rejected": READ,
    "/v1/requests/{request_id}/images": READ,
    "/v1/requests/{request_id}/report": READ,
    "/v1/requests/{request_id}/images/{number}/source": READ,
    "/v1/requests/{request_id}/output.csv": READ,
    "/v1/requests/{request_id}/outputs.zip": READ,
    "/v1/requests/{request_id}/deliveries": READ,
    "/v1/deliveries/{delivery_id}/redeliver": ("POST",),
    "/v1/account": READ,
    "/v1/account/signing-secret/rotate": ("POST",),
    "/v1/keys": (*READ, "POST"),
    "/v1/keys/{key_id}": ("DELETE",),
    "/v1/keys/{key_id}/rotate": ("POST",),
    "/v1/audit": READ,
    "/files/{key:path}": READ,
    "/upload": ("POST",),
    "/status/{request_id}": READ,
    "/status/{request_id}/": READ,
    "/api/upload-csv/": ("POST",),
    "/api/check-status/{request_id}": READ,
    "/api/check-status/{request_id}/": READ,
    "/openapi.json": READ,
    "/": READ,
    "/app/{name:path}": READ,
    "/vendor/{name:path}": READ,
    "/docs": READ,
    "/docs/problems": READ,
    "/docs/problems/": READ,
    "/docs/problems/{name}": READ,
    "/docs/{name:path}": READ,
}

PUBLIC = frozenset({"/", "/openapi.json", "/docs", "/healthz", "/readyz", "/metrics"})
"""Paths that need no key."""
PUBLIC_BELOW = ("/files/", "/docs/", "/app/", "/vendor/")
"""All below these needs none either. The names of files cannot be guessed."""
ADMIN = ("/v1/keys", "/v1/account/signing-secret", "/v1/audit")
"""Paths that need `admin`, with all below them."""
SCOPES = {**dict.fromkeys(READ, KeyScope.READ), "POST": KeyScope.WRITE, "DELETE": KeyScope.WRITE}


def scope_of(method: str, path: str) -> KeyScope | Literal[""] | None:
    """What a key must allow for this call: None if the call needs no key, "" if any key will do (for a 405).

    A path that is not known here needs a key too.
    """
    if path in PUBLIC or path.startswith(PUBLIC_BELOW):
        return None
    if any(path == admin or path.startswith(f"{admin}/") for admin in ADMIN):
        return KeyScope.ADMIN
    return SCOPES.get(method, "")
