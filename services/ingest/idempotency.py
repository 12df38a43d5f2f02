"""`Idempotency-Key`: an upload that is sent twice is accepted once.

The lock belongs to the accept transaction, so a killed process frees it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import IO, Any
from uuid import UUID

import orjson
from sqlmodel import Session

from services.ingest.options import Options
from shared.db import execute
from shared.http.problems import Problem

MAX_KEY = 255


@dataclass(frozen=True, slots=True)
class Idempotency:
    """The key, and the hash of the upload that came with it."""

    key: str
    content_hash: str


def read_key(headers: Sequence[str]) -> str | None:
    """The key, or None without one.

    Raises:
        Problem: 400.

    """
    if not headers:
        return None
    if len(headers) > 1:
        raise Problem(400, "invalid_idempotency_key", "Send at most one Idempotency-Key.")
    key = headers[0].strip()
    if not key or len(key) > MAX_KEY or not key.isascii() or not key.isprintable():
        raise Problem(400, "invalid_idempotency_key", f"Idempotency-Key must be 1 to {MAX_KEY} printable characters.")
    return key


def content_hash(manifest: IO[bytes], options: Options) -> str:
    """Over the manifest and the options, so that the same file as a form or as a raw body is the same upload."""
    manifest.seek(0)
    digest = hashlib.file_digest(manifest, "sha256")  # type: ignore[arg-type]
    digest.update(b"\0" + orjson.dumps(options.normalised(), option=orjson.OPT_SORT_KEYS))
    return digest.hexdigest()


def first_answer(
    session: Session, account: UUID, idempotency: Idempotency, *, retention: timedelta
) -> dict[str, Any] | None:
    """The body that answered this key before, None if it is free; locks the key until the transaction ends.

    Raises:
        Problem: 409 while another upload with this key is in progress, 422 if the key was used for other content.

    """
    params = {"account": account, "key": idempotency.key, "retention": retention}
    lock = "SELECT pg_try_advisory_xact_lock(hashtextextended(%(account)s::text || %(key)s, 0)) AS obtained"
    if not execute(session, lock, params)[0]["obtained"]:
        detail = "Another upload with this Idempotency-Key is in progress."
        raise Problem(409, "idempotency_key_in_flight", detail, headers={"Retry-After": "1"})
    found = execute(
        session,
        """
        WITH expired AS (
            UPDATE processing_request SET idempotency_key = NULL, idempotency_hash = NULL, accepted_body = NULL
            WHERE account_id = %(account)s AND idempotency_key = %(key)s AND created_at < now() - %(retention)s
        )
        SELECT idempotency_hash, accepted_body FROM processing_request
        WHERE account_id = %(account)s AND idempotency_key = %(key)s AND created_at >= now() - %(retention)s
        """,
        params,
    )
    if found and found[0]["idempotency_hash"] != idempotency.content_hash:
        raise Problem(422, "idempotency_key_reused", "This Idempotency-Key was used for other content.")
    return found[0]["accepted_body"] if found else None
