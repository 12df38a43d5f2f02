"""Settle a batch (step 7): one statement writes what became of its images and adds it to the group's counters.

Renditions are in the blob store before their rows are written. A completed image needs only its run; a failure or a
back-off also needs the claim, or a worker that was slow would overrule the one that went on in its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from prometheus_client import Counter
from sqlalchemy import event
from sqlmodel import Session

from shared.db import execute
from shared.errors import ImageError
from shared.lifecycle import ImageState
from shared.messages import Batch

RESULTS = Counter(
    "halftone_image_results_total",
    "What became of images, with the error's code; `pending`: tried again later.",
    ["state", "code"],
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one image. `delay`: seconds until it is due again, where it is still pending."""

    number: int
    state: str
    delay: float | None = None
    refund: bool = False  # the attempt was not the image's fault (storage failed): give it back
    error_code: str | None = None
    error_detail: str | None = None
    source_bytes: int | None = None
    source_format: str | None = None
    source_width: int | None = None
    source_height: int | None = None
    source_sha256: str | None = None
    rendition_bytes: int | None = None
    rendition_format: str | None = None
    rendition_width: int | None = None
    rendition_height: int | None = None
    rendition_sha256: str | None = None
    rendition_quality: int | None = None
    kept_original: bool | None = None


def failed(number: int, error: ImageError) -> Result:
    return Result(number=number, state=ImageState.FAILED, error_code=error.code, error_detail=error.detail)


def due_again(number: int, *, delay: float, error: ImageError | None = None, refund: bool = False) -> Result:
    """Still pending; `error` is remembered as the last one seen."""
    code, detail = (error.code, error.detail) if error else (None, None)
    return Result(
        number=number,
        state=ImageState.PENDING,
        delay=float(delay),  # psycopg writes no list of both ints and floats
        refund=refund,
        error_code=code,
        error_detail=detail,
    )


def settle(session: Session, batch: Batch, results: Sequence[Result]) -> int:
    """Write `results`; returns how many images were written. 0: someone else settled them, or the run is over."""
    if not results:
        return 0
    columns = {field.name: [getattr(result, field.name) for result in results] for field in fields(Result)}
    rows = execute(session, SETTLE, _identity(batch) | columns)
    written = set(rows[0]["numbers"]) if rows else set()
    _count(session, [result for result in results if result.number in written])
    return len(written)


def _count(session: Session, written: Sequence[Result]) -> None:
    """Once it is committed: a transaction may be run again, or not at all."""

    def count(_: Session) -> None:
        for result in written:
            RESULTS.labels(result.state, result.error_code or "").inc()

    event.listen(session, "after_commit", count, once=True)


def _identity(batch: Batch) -> dict[str, Any]:
    return {"request_id": batch.request_id, "group": batch.group, "run": batch.run, "claim": batch.claim}


# The group is locked before its images, as everywhere: `held` is read by the join that finds the images.
SETTLE = """
WITH held AS MATERIALIZED (
    SELECT number FROM image_group WHERE request_id = %(request_id)s AND number = %(group)s FOR UPDATE
), result AS (
    SELECT * FROM unnest(
        %(number)s::int[], %(state)s::text[], %(delay)s::float8[], %(refund)s::bool[],
        %(error_code)s::text[], %(error_detail)s::text[],
        %(source_bytes)s::bigint[], %(source_format)s::text[], %(source_width)s::int[], %(source_height)s::int[],
        %(source_sha256)s::text[],
        %(rendition_bytes)s::bigint[], %(rendition_format)s::text[], %(rendition_width)s::int[],
        %(rendition_height)s::int[], %(rendition_sha256)s::text[], %(rendition_quality)s::int[],
        %(kept_original)s::bool[]
    ) AS t (number, state, delay, refund, error_code, error_detail,
            source_bytes, source_format, source_width, source_height, source_sha256,
            rendition_bytes, rendition_format, rendition_width, rendition_height, rendition_sha256,
            rendition_quality, kept_original)
), written AS (
    UPDATE image i
    SET state = t.state,
        claimed_by = NULL,
        attempts = i.attempts - t.refund::int,
        not_before = now() + make_interval(secs => coalesce(t.delay, 0)),
        error_code = t.error_code, error_detail = t.error_detail,
        source_bytes = t.source_bytes, source_format = t.source_format, source_width = t.source_width,
        source_height = t.source_height, source_sha256 = t.source_sha256,
        rendition_bytes = t.rendition_bytes, rendition_format = t.rendition_format,
        rendition_width = t.rendition_width, rendition_height = t.rendition_height,
        rendition_sha256 = t.rendition_sha256, rendition_quality = t.rendition_quality,
        kept_original = t.kept_original
    FROM held, result t
    WHERE i.request_id = %(request_id)s AND i.number = t.number AND i.state = 'pending' AND i.run = %(run)s
      AND (t.state = 'completed' OR i.claimed_by = %(claim)s)
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
"""
