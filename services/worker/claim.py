"""A batch's right to work on its images, for a while: the statements that take it, renew it and let it go.

Fetching writes the claim, and compressing works under it (`take_over`): what arrives at once needs no second write.

A message that finds that it began before was delivered twice: the worker that held it may have died of one of its
images, or of another image in the same process. So its batch is broken up, and its images travel isolated.

Each statement names both key columns, `number` as a list: where the planner believes the table to be empty, it would
otherwise read all images of the request to find sixteen (tests/integration/shared/test_plans.py).
"""

import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from shared.db import Database, Transaction, execute
from shared.lifecycle import DUE, MAX_ATTEMPTS
from shared.messages import Batch, CompressBatch, Fetched, FetchedImage

CLAIM_SECONDS = 120.0
FRESH_SECONDS = 20.0
"""Most batches are done in seconds: a claim as young as this is not renewed, which would be a write in vain."""


def take_over(
    database: Database, begun_before: Callable[[UUID], bool | None], batch: Batch, fetched: Fetched
) -> tuple[FetchedImage, ...]:
    """The images to compress: all that were fetched, under the claim of the fetch, and nothing is written.

    Unless that claim may have ended, this message began before, or Valkey cannot tell: then the database is asked by a
    claim of our own. If clocks differ, that happens too often, or images are compressed twice and settled once.
    """
    if not isinstance(batch, CompressBatch):  # quick: it has just fetched them, under its own claim
        return fetched.images
    begun = begun_before(batch.claim)
    if begun is False and time.time() < fetched.until:
        return fetched.images
    numbers = [image.number for image in fetched.images]
    ours = database.run(lambda connection: claim(connection, batch, numbers, begun=bool(begun)))
    return tuple(image for image in fetched.images if image.number in ours)


def claim(
    transaction: Transaction,
    batch: Batch,
    numbers: Sequence[int],
    *,
    seconds: float = CLAIM_SECONDS,
    begun: bool = False,
) -> dict[int, int]:
    """Claim images that are pending and due, or held by the message before; returns attempts by image number.

    Images that are not in the answer are not ours to touch. Fetching counts an attempt; compressing only where it was
    begun before and never reported. Breaking up counts none: nothing was tried. `begun`: this message began before,
    under the claim that it takes over.
    """
    parameters = _parameters(batch, numbers)
    # Locked first, by number: `RETURNING old.claimed_by` gives a stale value after a wait, where the table has a BEFORE
    # trigger (PostgreSQL up to 18.4), and two workers with the same message would both go on.
    rows = execute(
        transaction,
        f"""
        WITH ours AS MATERIALIZED (
            SELECT i.number, coalesce(i.claimed_by = ANY(%(again)s), false) AS again,
                   coalesce(i.claimed_by <> ALL(%(ours)s) AND NOT i.deferred, false) AS lost
            FROM image i JOIN processing_request r ON r.id = i.request_id
            WHERE r.id = %(request_id)s AND r.stop_reason IS NULL
              AND i.number = ANY(%(numbers)s::int[]) AND i.state = 'pending' AND i.run = %(run)s
              AND (i.claimed_by = %(takes_over)s
                   OR i.claimed_by = ANY(%(again)s) AND i.attempts < %(max_attempts)s
                   OR %(fetching)s AND {DUE})
            ORDER BY i.number FOR NO KEY UPDATE OF i
        ), message AS (SELECT NOT %(isolated)s AND bool_or(again) AS broken_up FROM ours)
        UPDATE image i
        SET claimed_by = CASE WHEN NOT m.broken_up THEN %(claim)s::uuid END,
            not_before = CASE WHEN m.broken_up THEN now() ELSE now() + make_interval(secs => %(seconds)s) END,
            attempts = i.attempts + (NOT m.broken_up AND (%(fetching)s OR o.again))::int,
            deferred = false, isolated = i.isolated OR m.broken_up OR o.lost
        FROM ours o, message m
        WHERE i.request_id = %(request_id)s AND i.number = ANY(%(numbers)s::int[]) AND i.number = o.number
        RETURNING i.number, i.attempts, m.broken_up
        """,  # noqa: S608 - a constant of ours
        parameters
        | {
            "again": parameters["ours"] if begun else [batch.claim],
            "takes_over": None if begun else batch.takes_over,
            "seconds": seconds,
            "max_attempts": MAX_ATTEMPTS,
            "fetching": not isinstance(batch, CompressBatch),
            "isolated": batch.isolated,
        },
    )
    return {row["number"]: row["attempts"] for row in rows if not row["broken_up"]}


def renew(transaction: Transaction, batch: Batch, numbers: Sequence[int]) -> None:
    """Keep the claim while its work goes on, or the one that it takes over; not one that was just made."""
    execute(
        transaction,
        """
        UPDATE image SET not_before = greatest(not_before, now() + make_interval(secs => %(seconds)s))
        WHERE request_id = %(request_id)s AND number = ANY(%(numbers)s::int[])
          AND claimed_by = ANY(%(ours)s) AND state = 'pending' AND run = %(run)s
          AND not_before < now() + make_interval(secs => %(seconds)s - %(fresh)s)
        """,
        _parameters(batch, numbers) | {"seconds": CLAIM_SECONDS, "fresh": FRESH_SECONDS},
    )


def defer(transaction: Transaction, batch: Batch, numbers: Sequence[int], *, seconds: float) -> list[int]:
    """Give the attempt back, and keep the claim for the slow queue's message to take over; returns our images."""
    rows = execute(
        transaction,
        """
        UPDATE image
        SET deferred = true, attempts = attempts - (NOT deferred)::int,
            not_before = now() + make_interval(secs => %(seconds)s)
        WHERE request_id = %(request_id)s AND number = ANY(%(numbers)s::int[])
          AND claimed_by = %(claim)s AND state = 'pending' AND run = %(run)s
        RETURNING number
        """,
        _parameters(batch, numbers) | {"seconds": seconds},
    )
    return sorted(row["number"] for row in rows)


def release(transaction: Transaction, batch: Batch, numbers: Sequence[int]) -> None:
    """Let images go of which none was tried: due now, their attempts unchanged."""
    execute(
        transaction,
        """
        UPDATE image SET claimed_by = NULL, not_before = now()
        WHERE request_id = %(request_id)s AND number = ANY(%(numbers)s::int[])
          AND claimed_by = %(claim)s AND state = 'pending' AND run = %(run)s
        """,
        _parameters(batch, numbers),
    )


def _parameters(batch: Batch, numbers: Sequence[int]) -> dict[str, Any]:
    return {
        "request_id": batch.request_id,
        "run": batch.run,
        "claim": batch.claim,
        "ours": batch.claims,
        "numbers": sorted(numbers),
    }
