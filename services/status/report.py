"""The report of a request: figures over all of its images, made by the database in one pass over their rows.

What it needs does not grow with the request: sorts and groups beyond `work_mem` go to temporary files there, and here
arrive some hundred numbers.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlmodel import Session

from services.status.queries import FIND, found_of
from shared.db import allow_time, connection_of, execute
from shared.lifecycle import OF_EARLIER_RUN
from shared.schemas.progress import RequestRow
from shared.schemas.report_api import (
    MAX_HOSTS,
    MAX_POINTS,
    SAVINGS,
    Report,
    SavingsRange,
    Throughput,
    ThroughputPoint,
)

LONGEST_SECONDS = 120
"""A million images take some 3 s, but a busy machine or a cold disk may need many times that."""
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
"""Seconds that an interval of the throughput may have; a longer run has intervals of several hours."""

# The rows are read once and narrowly: they are wide, and lie far apart. `retry` has not written the images that it made
# pending, so that their state and what is known of them are still those of the run before.
FIGURES = f"""
WITH image_of_run AS MATERIALIZED (
    SELECT lower(split_part(translate(url, '?#', '//'), '/', 3)) COLLATE "C" AS host,
           CASE WHEN {OF_EARLIER_RUN} THEN 'pending' ELSE state END AS state,
           CASE WHEN NOT ({OF_EARLIER_RUN}) THEN fetch_ms END AS fetch_ms,
           CASE WHEN run = %(run)s THEN settled_at END AS settled_at,
           error_code, source_format, rendition_format, source_bytes, rendition_bytes, kept_original
    FROM image WHERE request_id = %(id)s
), completed AS (
    SELECT source_format, rendition_format, kept_original, source_bytes, rendition_bytes,
           greatest(0, least(%(ranges)s - 1, %(ranges)s * (source_bytes - rendition_bytes) / nullif(source_bytes, 0)))
               AS savings
    FROM image_of_run WHERE state = 'completed'
), completed_of AS MATERIALIZED (
    SELECT source_format, rendition_format, kept_original, savings, count(*) AS images,
           sum(source_bytes)::bigint AS source_bytes, sum(rendition_bytes)::bigint AS rendition_bytes
    FROM completed GROUP BY source_format, rendition_format, kept_original, savings
), format AS (
    SELECT source_format, rendition_format, sum(images)::bigint AS images,
           coalesce(sum(source_bytes), 0)::bigint AS source_bytes,
           coalesce(sum(rendition_bytes), 0)::bigint AS rendition_bytes
    FROM completed_of GROUP BY source_format, rendition_format
), failure AS (
    SELECT error_code AS code, count(*) AS images FROM image_of_run WHERE state = 'failed' GROUP BY error_code
), timed_host AS (
    SELECT host, count(*) AS images, count(*) FILTER (WHERE state = 'failed') AS failed,
           percentile_disc(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY fetch_ms) AS times
    FROM image_of_run GROUP BY host
), host AS MATERIALIZED (
    SELECT host, images, failed, times[1] AS median_ms, times[2] AS p95_ms FROM timed_host
), slowest AS (
    SELECT * FROM host WHERE p95_ms IS NOT NULL ORDER BY p95_ms DESC, median_ms DESC, host LIMIT %(hosts)s
), most_failing AS (
    SELECT * FROM host WHERE failed > 0 ORDER BY failed DESC, images, host LIMIT %(hosts)s
), point AS (
    SELECT greatest(0, least(%(points)s - 1,
                             floor(extract(epoch FROM settled_at - %(since)s::timestamptz) / %(interval)s)))::int AS n,
           count(*) FILTER (WHERE state = 'completed') AS completed, count(*) FILTER (WHERE state = 'failed') AS failed
    FROM image_of_run WHERE settled_at IS NOT NULL AND %(points)s > 0 GROUP BY 1
)
SELECT (SELECT coalesce(json_agg(format ORDER BY images DESC, source_format, rendition_format), '[]') FROM format)
           AS formats,
       (SELECT coalesce(json_object_agg(savings, images), '{{}}')
        FROM (SELECT savings, sum(images) AS images FROM completed_of WHERE savings IS NOT NULL GROUP BY savings) AS s)
           AS savings,
       (SELECT coalesce(sum(images), 0)::bigint FROM completed_of WHERE kept_original) AS kept_original,
       (SELECT coalesce(json_agg(failure ORDER BY images DESC, code), '[]') FROM failure) AS failures,
       (SELECT count(*) FROM host) AS hosts,
       (SELECT coalesce(json_agg(slowest ORDER BY p95_ms DESC, median_ms DESC, host), '[]') FROM slowest) AS slowest,
       (SELECT coalesce(json_agg(most_failing ORDER BY failed DESC, images, host), '[]') FROM most_failing)
           AS most_failing,
       (SELECT coalesce(json_agg(point), '[]') FROM point) AS points
"""  # noqa: S608 - a constant of ours


def read(session: Session, request_id: UUID) -> Report:
    """The report of a request that exists in this snapshot."""
    allow_time(session, LONGEST_SECONDS)
    now: datetime = execute(session, "SELECT now()")[0]["now"]
    row = connection_of(session).execute(FIND, {"ids": [request_id]}).fetchone()
    assert row is not None
    request = found_of(row).request
    interval, count = intervals(request, now)
    figures = execute(
        session,
        FIGURES,
        {
            "id": request_id, "run": request.run, "ranges": SAVINGS, "hosts": MAX_HOSTS, "since": request.started_at,
            "interval": interval, "points": count,
        },
    )[0]  # fmt: skip
    return Report.model_validate(
        {
            "request_id": request_id,
            "run": request.run,
            "status": request.status,
            "as_of": now,
            "formats": figures["formats"],
            "savings": savings(figures["savings"]),
            "kept_original": figures["kept_original"],
            "failures": figures["failures"],
            "hosts": {
                "total": figures["hosts"],
                "slowest": figures["slowest"],
                "most_failing": figures["most_failing"],
            },
            "throughput": throughput(request.started_at, interval, count, figures["points"]),
        }
    )


def intervals(request: RequestRow, now: datetime) -> tuple[int, int]:
    """Seconds of each interval of the run so far, and how many there are: at most MAX_POINTS."""
    if request.started_at is None:
        return STEPS[0], 0
    seconds = max(0.0, ((request.finished_at or now) - request.started_at).total_seconds())
    hours = int(seconds // (MAX_POINTS * 3600)) + 1
    step = next((step for step in STEPS if seconds < MAX_POINTS * step), hours * 3600)
    return step, int(seconds // step) + 1


def savings(images: Mapping[str, int]) -> list[SavingsRange]:
    """All ranges, from how many images are in each of some of them, by number from 0."""
    bounds = [number / SAVINGS for number in range(SAVINGS + 1)]
    return [
        SavingsRange.model_validate(
            {"from": bounds[number], "to": bounds[number + 1], "images": images.get(str(number), 0)}
        )
        for number in range(SAVINGS)
    ]


def throughput(since: datetime | None, interval: int, count: int, points: Iterable[Mapping[str, Any]]) -> Throughput:
    """All intervals, from those in which images were settled."""
    known = {point["n"]: point for point in points}
    none = {"completed": 0, "failed": 0}
    return Throughput(
        interval_seconds=interval,
        points=[
            ThroughputPoint.model_validate({**none, **known.get(n, {}), "at": since + timedelta(seconds=n * interval)})
            for n in range(count)
            if since is not None
        ],
    )
