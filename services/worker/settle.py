"""Settle a batch (step 7): one statement writes its images' results and adds them to the group's counters.

Renditions are in the blob store before their rows are written. A completed image needs only its run; a failure or a
retry also needs the claim, or a worker that was slow would overrule the one that took its place.
"""

from collections import Counter as Tally
from collections.abc import Sequence
from typing import Any

import orjson
from prometheus_client import Counter

from shared.blobs import BlobMissing
from shared.db import Transaction, execute
from shared.errors import ImageError, StorageError
from shared.lifecycle import ImageState
from shared.log import get_logger
from shared.messages import Batch
from shared.schemas.tables import Image, ImageResult

STORAGE_RETRY_SECONDS = 15.0
RESULTS = Counter(
    "halftone_image_results_total",
    "Results of images by error code and, where they are completed, the source's format; `pending`: tried again later.",
    ["state", "code", "format"],
)

log = get_logger(__name__)


class Result(ImageResult):
    """The result of one image. `delay`: seconds until it is due again, where it is still pending."""

    number: int
    delay: float | None = None
    refund: bool = False  # the attempt failed through no fault of the image: give it back


def failed(number: int, error: ImageError, *, fetch_ms: int | None = None) -> Result:
    return Result(
        number=number,
        state=ImageState.FAILED,
        error_code=error.code,
        error_detail=error.detail,
        fetch_ms=fetch_ms,
    )


def due_again(
    number: int, *, delay: float, error: ImageError | None = None, fetch_ms: int | None = None, refund: bool = False
) -> Result:
    """Still pending; `error` is remembered as the last one seen."""
    code, detail = (error.code, error.detail) if error else (None, None)
    return Result(number=number, delay=delay, refund=refund, error_code=code, error_detail=detail, fetch_ms=fetch_ms)


def unstored(batch: Batch, failures: Sequence[tuple[int, StorageError]]) -> list[Result]:
    """Images whose bytes the blob store did not take or give.

    A missing source is due again at once, and its attempt counts: after the fifth it is `worker_lost`. Anything else
    waits and counts none.
    """
    errors = [error for _, error in failures if not isinstance(error, BlobMissing)]
    if errors:  # once a batch: a full disk must not be filled with log lines about it
        log.warning("storage_failed", request_id=str(batch.request_id), images=len(errors), error=str(errors[0]))
    return [
        due_again(number, delay=0)
        if isinstance(error, BlobMissing)
        else due_again(number, delay=STORAGE_RETRY_SECONDS, refund=True)
        for number, error in failures
    ]


def settle(transaction: Transaction, batch: Batch, results: Sequence[Result]) -> int:
    """Write `results`; returns how many images were written: 0 if others settled them, or the run is over.

    For `Database.run`: when the statement answers, it is committed, and the results are counted.
    """
    if not results:
        return 0
    rows = execute(transaction, SETTLE, _parameters(batch, results))
    written = set(rows[0]["numbers"]) if rows else set()
    settled = [result for result in results if result.number in written]
    _count(settled)
    _log_failures(batch, settled)
    return len(settled)


def _count(results: Sequence[Result]) -> None:
    counted = Tally((result.state, result.error_code or "", result.source_format or "") for result in results)
    for labels, times in counted.items():
        RESULTS.labels(*labels).inc(times)


def _log_failures(batch: Batch, results: Sequence[Result]) -> None:
    """One line a batch, with the images' numbers by error code."""
    codes: dict[str, list[int]] = {}
    for result in results:
        if result.state == ImageState.FAILED and result.error_code:
            codes.setdefault(result.error_code, []).append(result.number)
    if codes:
        log.info("images_failed", request_id=str(batch.request_id), group=batch.group, images=codes)


def _parameters(batch: Batch, results: Sequence[Result]) -> dict[str, Any]:
    """The results as JSON: as an array for each column they cost psycopg and PostgreSQL several times as much."""
    rows = [{name: getattr(result, name) for name in _FIELDS} for result in results]
    return {
        "request_id": batch.request_id,
        "group": batch.group,
        "run": batch.run,
        "claims": batch.claims,
        "numbers": [result.number for result in results],
        "results": orjson.dumps(rows).decode(),
    }


_TYPES = {"delay": "float8", "refund": "bool"} | {
    column.name: str(column.type)
    for column in Image.__table__.columns  # type: ignore[attr-defined]
}
_FIELDS = tuple(Result.model_fields)
_COLUMNS = ", ".join(f"{name} {_TYPES[name]}" for name in _FIELDS)
_ASSIGNMENTS = ", ".join(f"{name} = t.{name}" for name in ImageResult.model_fields)

# The group is locked before its images, as everywhere: `held` is read by the join that finds the images. Both columns
# of the key are conditions of the index, as in claim.py.
SETTLE = f"""
WITH held AS MATERIALIZED (
    SELECT number FROM image_group WHERE request_id = %(request_id)s AND number = %(group)s FOR UPDATE
), result AS (
    SELECT * FROM json_to_recordset(%(results)s) AS t ({_COLUMNS})
), written AS (
    UPDATE image i
    SET claimed_by = NULL,
        attempts = i.attempts - t.refund::int,
        not_before = now() + make_interval(secs => coalesce(t.delay, 0)),
        settled_at = CASE WHEN t.state <> 'pending' THEN now() END,
        {_ASSIGNMENTS}
    FROM held, result t
    WHERE i.request_id = %(request_id)s AND i.number = ANY(%(numbers)s::int[]) AND i.number = t.number
      AND i.state = 'pending' AND i.run = %(run)s AND (t.state = 'completed' OR i.claimed_by = ANY(%(claims)s))
    RETURNING i.number, i.state, i.source_bytes, i.rendition_bytes
), sums AS (
    SELECT count(*) AS written, array_agg(number) AS numbers,
           count(*) FILTER (WHERE state = 'completed') AS completed,
           count(*) FILTER (WHERE state = 'failed') AS failed,
           coalesce(sum(source_bytes) FILTER (WHERE state = 'completed'), 0) AS source_bytes,
           coalesce(sum(rendition_bytes) FILTER (WHERE state = 'completed'), 0) AS rendition_bytes
    FROM written
)
UPDATE image_group g
SET completed = g.completed + s.completed,
    failed = g.failed + s.failed,
    source_bytes = g.source_bytes + s.source_bytes,
    rendition_bytes = g.rendition_bytes + s.rendition_bytes,
    in_flight = greatest(0, g.in_flight - s.written)
FROM sums s
WHERE g.request_id = %(request_id)s AND g.number = %(group)s AND s.written > 0
RETURNING s.numbers
"""  # noqa: S608 - made of our own field names
