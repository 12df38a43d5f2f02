"""Deliver an event (step 9): claim the delivery, one signed POST, one attempt row.

Killed between claim and report: the attempt is on record as never reported, and the delivery is due again in a minute.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prometheus_client import Counter
from sqlmodel import Session

from services.notifier.host_queue import PerHostQueue
from services.notifier.schedule import DELAYS, GONE, RETRY_AFTER_STATUSES, next_delay
from services.notifier.signature import signed_headers
from shared.db import Database, execute
from shared.egress import Answer, Egress
from shared.egress.response import retry_after
from shared.errors import ImageError
from shared.lifecycle import DeliveryStatus
from shared.log import get_logger
from shared.urls import host_port

log = get_logger(__name__)
RESULTS = Counter(
    "halftone_delivery_results_total", "What became of deliveries; `pending`: tried again later.", ["status"]
)
LONGEST_ANSWER = 4096
LONGEST_EXCERPT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSender:
    """What delivering needs from its process."""

    database: Database
    egress: Egress
    lanes: PerHostQueue
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of one POST."""

    status_code: int | None = None
    error: str | None = None
    excerpt: str = ""
    retry_after: float | None = None
    duration_ms: int = 0


def deliver(sender: WebhookSender, delivery_id: UUID) -> None:
    """Attempt the delivery now, or leave it to the thread that is busy with its host."""
    url = sender.database.transact(lambda session: _url(session, delivery_id))
    if url is not None:
        sender.lanes.run(host_port(url), delivery_id, lambda due: _attempt(sender, due))


def _attempt(sender: WebhookSender, delivery_id: UUID) -> None:
    claimed = sender.database.transact(lambda session: _claim(session, delivery_id))
    if claimed is None:
        return
    report = _post(sender, claimed)
    status = sender.database.transact(lambda session: record(session, claimed, report, random=random.random))
    RESULTS.labels(status.value).inc()


def _post(sender: WebhookSender, claimed: dict[str, Any]) -> Report:
    begun = time.monotonic()
    try:
        answer = _send(sender, claimed)
    except ImageError as error:
        return Report(error=f"{error.code}: {error.detail}", duration_ms=_ms_since(begun))
    except Exception:
        # A mistake of ours. A failed attempt like any other, so that it is tried again as scheduled, and ends.
        log.exception("delivery failed unexpectedly", delivery_id=str(claimed["id"]))
        return Report(error="internal_error: The event could not be sent.", duration_ms=_ms_since(begun))
    return _report(answer, duration_ms=_ms_since(begun))


def _send(sender: WebhookSender, claimed: dict[str, Any]) -> Answer:
    secrets = [secret for secret in (claimed["signing_secret"], claimed["previous_secret"]) if secret]
    return sender.egress.post(
        claimed["url"],
        body=claimed["body"].encode(),
        headers=signed_headers(str(claimed["event_id"]), claimed["body"], secrets=secrets, now=datetime.now(UTC)),
        deadline_seconds=sender.seconds,
        max_response_bytes=LONGEST_ANSWER,
    )


def _report(answer: Answer, *, duration_ms: int) -> Report:
    return Report(
        status_code=answer.status_code,
        error=None if 200 <= answer.status_code < 300 else f"HTTP {answer.status_code}",
        excerpt=answer.excerpt[:LONGEST_EXCERPT].replace("\x00", "\ufffd"),
        retry_after=_retry_after(answer),
        duration_ms=duration_ms,
    )


def _retry_after(answer: Answer) -> float | None:
    if answer.status_code not in RETRY_AFTER_STATUSES:
        return None
    return retry_after(answer.headers.get("retry-after"), now=datetime.now(UTC), most=DELAYS[-1])


def _ms_since(begun: float) -> int:
    return round((time.monotonic() - begun) * 1000)


def _url(session: Session, delivery_id: UUID) -> str | None:
    rows = execute(
        session,
        "SELECT url FROM delivery WHERE id = %(id)s AND status = 'pending' AND next_attempt_at <= now()",
        {"id": delivery_id},
    )
    return rows[0]["url"] if rows else None


def _claim(session: Session, delivery_id: UUID) -> dict[str, Any] | None:
    rows = execute(
        session,
        """
        WITH claimed AS (
            UPDATE delivery SET attempt = attempt + 1, next_attempt_at = now() + interval '60 s'
            WHERE id = %(id)s AND status = 'pending' AND next_attempt_at <= now()
            RETURNING id, event_id, request_id, url, attempt, first_attempt
        ), attempted AS (
            INSERT INTO delivery_attempt (delivery_id, number, error, duration_ms)
            SELECT id, attempt, 'never reported', 0 FROM claimed
        )
        SELECT c.*, e.body, a.signing_secret,
               CASE WHEN a.previous_secret_until > now() THEN a.previous_secret END AS previous_secret
        FROM claimed c JOIN event e ON e.id = c.event_id
        JOIN processing_request r ON r.id = c.request_id JOIN account a ON a.id = r.account_id
        """,
        {"id": delivery_id},
    )
    return rows[0] if rows else None


def record(session: Session, claimed: dict[str, Any], report: Report, *, random: Callable[[], float]) -> DeliveryStatus:
    """Write what came of the attempt; the delivery itself only if no later attempt claimed it or was asked for."""
    status, delay = _verdict(claimed, report, random=random)
    execute(
        session,
        """
        UPDATE delivery_attempt
        SET status_code = %(status_code)s, error = %(error)s, duration_ms = %(duration_ms)s,
            response_excerpt = %(excerpt)s
        WHERE delivery_id = %(id)s AND number = %(attempt)s
        """,
        claimed
        | {
            "status_code": report.status_code,
            "error": report.error,
            "duration_ms": report.duration_ms,
            "excerpt": report.excerpt,
        },
    )
    execute(
        session,
        """
        UPDATE delivery
        SET status = %(status)s, enqueued_at = NULL,
            next_attempt_at = CASE WHEN %(status)s = 'pending' THEN now() + make_interval(secs => %(delay)s) END
        WHERE id = %(id)s AND attempt = %(attempt)s AND first_attempt = %(first_attempt)s AND status = 'pending'
        """,
        claimed | {"status": status.value, "delay": delay},
    )
    return status


def _verdict(claimed: dict[str, Any], report: Report, *, random: Callable[[], float]) -> tuple[DeliveryStatus, float]:
    if report.error is None:
        return DeliveryStatus.DELIVERED, 0
    if report.status_code == GONE:
        return DeliveryStatus.STOPPED, 0
    attempt = claimed["attempt"] - claimed["first_attempt"] + 1
    delay = next_delay(attempt=attempt, random=random, retry_after=report.retry_after)
    return (DeliveryStatus.EXHAUSTED, 0) if delay is None else (DeliveryStatus.PENDING, delay)
