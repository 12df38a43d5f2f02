"""Delivers an event: claim the delivery, send one signed POST, record the attempt.

If the process dies in between, the attempt is on record as never reported and the delivery is due again when the claim
runs out.
"""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prometheus_client import Counter, Histogram
from sqlmodel import Session, col, func, select

from services.notifier.receiver_queue import Receiver, ReceiverQueue
from services.notifier.webhook import RETRY_AFTER_STATUSES, RETRY_DELAYS, AttemptResult, next_step, signed_headers
from shared import tracing
from shared.db import Database, execute
from shared.egress import Egress
from shared.egress.response import retry_after
from shared.errors import BlockedUrl, ImageError
from shared.lifecycle import DeliveryStatus
from shared.log import get_logger
from shared.schemas.tables import Delivery, DeliveryAttempt, ProcessingRequest
from shared.urls import InvalidUrl, Target, host_of

log = get_logger(__name__)
RESULTS = Counter(
    "halftone_delivery_results_total", "Delivery attempts by result; `pending`: it is tried again later.", ["status"]
)
LAG = Histogram(
    "halftone_delivery_lag_seconds",
    "From when an attempt at a delivery was due to when it began.",
    buckets=(0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 3600),
)
MAX_RESPONSE_BYTES = 4096
MAX_EXCERPT = 500
CLAIM_MARGIN_SECONDS = 45
"""A claim outlasts the POST's own deadline by this: time to record the result while the database is slow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSender:
    """What a delivery needs from its process; a POST takes at most `seconds`."""

    database: Database
    egress: Egress
    queue: ReceiverQueue
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A delivery that this process may attempt now, `lag` seconds late. The schedule counts from `first_attempt`."""

    id: UUID
    event_id: UUID
    request_id: UUID
    url: str
    lag: float
    attempt: int
    first_attempt: int
    body: str
    signing_secret: str
    previous_secret: str | None


@dataclass(slots=True)
class Signing:
    """Signs an event at the moment of sending. `headers` are None until then: nothing was sent."""

    claim: Claim
    headers: Mapping[str, str] | None = None

    def __call__(self) -> Mapping[str, str]:
        claim = self.claim
        secrets = [secret for secret in (claim.signing_secret, claim.previous_secret) if secret]
        self.headers = signed_headers(str(claim.event_id), claim.body, secrets=secrets, now=datetime.now(UTC))
        return self.headers


def deliver(sender: WebhookSender, delivery_id: UUID) -> None:
    """Attempt the delivery now, or queue it for a thread that is busy with its receiver."""
    due = sender.database.transact(lambda session: _due(session, delivery_id))
    if due is None:
        return
    url, account = due
    try:
        target = Target.parse(url)
    except InvalidUrl:  # by a rule that was made later: the attempt records it
        _attempt(sender, delivery_id)
        return
    addresses = sender.egress.known_addresses(target.host)
    receiver = Receiver.of(target, account, address=str(addresses[0]) if addresses else None)
    sender.queue.run(receiver, delivery_id, lambda due: _attempt(sender, due))


def _attempt(sender: WebhookSender, delivery_id: UUID) -> float | None:
    """Returns the seconds that the receiver took; None if nothing was posted."""
    seconds = sender.seconds + CLAIM_MARGIN_SECONDS
    claim = sender.database.transact(lambda session: claim_delivery(session, delivery_id, seconds=seconds))
    if claim is None:
        return None
    LAG.observe(claim.lag)
    signing, begun = Signing(claim), time.monotonic()
    with tracing.step_of(claim.request_id, "POST", _about(claim), calls=True) as about:
        result = _post(sender, claim, signing)
        if result.status_code is not None:
            about["http.response.status_code"] = result.status_code
        if result.error is not None:
            about["error.type"] = result.error.partition(":")[0]
    took = time.monotonic() - begun
    status = sender.database.transact(
        lambda session: record(session, claim, result, sent=signing.headers, duration_ms=round(took * 1000))
    )
    RESULTS.labels(status.value).inc()
    log.info(
        "delivery_attempted",
        request_id=str(claim.request_id),
        delivery_id=str(claim.id),
        attempt=claim.attempt,
        status=status.value,
        answer=result.status_code,
    )
    return took


def _about(claim: Claim) -> tracing.Attributes:
    """Of the URL only the host: the rest is often the secret by which a receiver knows its senders."""
    return {
        "http.request.method": "POST",
        "server.address": host_of(claim.url),
        "halftone.delivery_id": str(claim.id),
        "halftone.attempt": claim.attempt,
        "halftone.lag_seconds": claim.lag,
    }


def _post(sender: WebhookSender, claim: Claim, signing: Signing) -> AttemptResult:
    try:
        answer = sender.egress.post(
            claim.url,
            body=claim.body.encode(),
            headers=signing,
            deadline_seconds=sender.seconds,
            max_response_bytes=MAX_RESPONSE_BYTES,
        )
    except ImageError as error:
        return AttemptResult(error=f"{error.code}: {error.detail}", stops=isinstance(error, BlockedUrl))
    except Exception:
        # Our own mistake counts as a failed attempt, so that it is retried on schedule and ends.
        log.exception("delivery failed unexpectedly", request_id=str(claim.request_id), delivery_id=str(claim.id))
        return AttemptResult(error="internal_error: The event could not be sent.")
    asked = answer.headers.get("retry-after") if answer.status_code in RETRY_AFTER_STATUSES else None
    return AttemptResult(
        status_code=answer.status_code,
        error=None if 200 <= answer.status_code < 300 else f"HTTP {answer.status_code}",
        response_excerpt=answer.excerpt[:MAX_EXCERPT].replace("\x00", "\ufffd"),
        retry_after=retry_after(asked, now=datetime.now(UTC), most=RETRY_DELAYS[-1]),
    )


def _due(session: Session, delivery_id: UUID) -> tuple[str, UUID] | None:
    """The URL and the account."""
    return session.exec(
        select(Delivery.url, ProcessingRequest.account_id).where(
            Delivery.id == delivery_id,
            Delivery.status == DeliveryStatus.PENDING,
            col(Delivery.next_attempt_at) <= func.now(),
            Delivery.request_id == ProcessingRequest.id,
        )
    ).one_or_none()


def claim_delivery(session: Session, delivery_id: UUID, *, seconds: float) -> Claim | None:
    """Claim a due delivery for `seconds` and record the attempt as never reported; None if it is not due."""
    rows = execute(
        session,
        """
        WITH claimed AS (
            UPDATE delivery SET attempt = attempt + 1, next_attempt_at = now() + make_interval(secs => %(seconds)s)
            WHERE id = %(id)s AND status = 'pending' AND next_attempt_at <= now()
            RETURNING id, event_id, request_id, url, attempt, first_attempt
        ), attempted AS (
            INSERT INTO delivery_attempt (delivery_id, number, error, duration_ms)
            SELECT id, attempt, 'never reported', 0 FROM claimed
        )
        SELECT c.id, c.event_id, c.request_id, c.url, c.attempt, c.first_attempt, e.body, a.signing_secret,
               CASE WHEN a.previous_secret_until > now() THEN a.previous_secret END AS previous_secret,
               coalesce(extract(epoch FROM now() - d.next_attempt_at), 0)::float8 AS lag
        FROM claimed c JOIN event e ON e.id = c.event_id
        JOIN delivery d ON d.id = c.id -- as it was before the claim
        JOIN processing_request r ON r.id = c.request_id JOIN account a ON a.id = r.account_id
        """,
        {"id": delivery_id, "seconds": seconds},
    )
    return Claim(**rows[0]) if rows else None


def record(
    session: Session, claim: Claim, result: AttemptResult, *, sent: Mapping[str, str] | None, duration_ms: int
) -> DeliveryStatus:
    """Write the attempt's result; the delivery changes only if it was not claimed or redelivered since.

    `sent`: the headers of the POST, None if there was none.
    """
    status, delay = next_step(result, attempt=claim.attempt - claim.first_attempt + 1, random=random.random)
    delivery = session.get(Delivery, claim.id, with_for_update={"key_share": True})
    attempt = session.get(DeliveryAttempt, (claim.id, claim.attempt))
    if delivery is None or attempt is None:  # deleted meanwhile, with its request
        return status
    attempt.status_code, attempt.error, attempt.duration_ms = result.status_code, result.error, duration_ms
    attempt.response_excerpt = result.response_excerpt
    if sent is not None:
        attempt.webhook_timestamp, attempt.webhook_signature = sent["webhook-timestamp"], sent["webhook-signature"]
    claimed = (claim.attempt, claim.first_attempt, DeliveryStatus.PENDING)
    if (delivery.attempt, delivery.first_attempt, delivery.status) == claimed:
        now: datetime = session.exec(select(func.now())).one()
        delivery.status, delivery.enqueued_at = status, None
        delivery.next_attempt_at = None if delay is None else now + timedelta(seconds=delay)
    return status
