"""Store a spooled manifest: request, products, images, groups and rejected rows in one transaction, or nothing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from shutil import copyfileobj
from typing import IO, Any, LiteralString
from uuid import UUID

from sqlmodel import Session

from services.ingest.accounts import quotas
from services.ingest.idempotency import Idempotency, first_answer
from services.ingest.options import Options
from services.ingest.settings import IngestSettings
from services.ingest.spool import Spool
from shared.db import allow_time, connection_of, execute
from shared.lifecycle import IMAGES_PER_GROUP, group_of
from shared.schemas.api import counts_of, request_view
from shared.schemas.tables import ProcessingRequest


@dataclass(frozen=True, slots=True)
class Accepted:
    """The body of the 202; `replayed` if it answered an earlier upload with the same idempotency key."""

    body: Mapping[str, Any]
    replayed: bool


def accept(
    session: Session,
    account: UUID,
    spool: Spool,
    options: Options,
    *,
    idempotency: Idempotency | None,
    settings: IngestSettings,
) -> Accepted:
    """Store the spool, or find the answer stored for the idempotency key.

    Raises:
        Problem: 409 or 422 for the idempotency key, 429 if a quota is used up.

    """
    allow_time(session, settings.accept_timeout_seconds)
    if idempotency:
        body = first_answer(session, account, idempotency, retention=settings.idempotency_retention)
        if body is not None:
            return Accepted(body, replayed=True)
    quotas.check(session, account, spool.charged, settings.limits)
    now = execute(session, "SELECT now() AS now")[0]["now"]
    request = _request(account, spool, options, now=now, deadline_at=now + settings.deadline)
    body = request_view(request, counts_of(request), public_url=settings.public_url, now=now)
    if options.skip:
        body |= spool.findings()
    if idempotency:
        request.idempotency_key = idempotency.key
        request.idempotency_hash = idempotency.content_hash
        request.accepted_body = body
    session.add(request)
    session.flush()
    _copy(session, "COPY product (request_id, row, serial_number, name, images) FROM STDIN", spool.products)
    _copy(session, "COPY image (request_id, number, url) FROM STDIN", spool.images)
    _copy(session, "COPY rejected_row (request_id, number, error) FROM STDIN", spool.rejected)
    _insert_groups(session, request)
    quotas.charge(session, account, spool.charged, settings.limits)
    return Accepted(body, replayed=False)


def _request(
    account: UUID, spool: Spool, options: Options, *, now: datetime, deadline_at: datetime
) -> ProcessingRequest:
    return ProcessingRequest(
        id=spool.request_id,
        account_id=account,
        **asdict(options.recipe),
        webhook_url=options.webhook_url,
        products=spool.product_count,
        images=spool.image_count,
        rejected=spool.error_count,
        open_groups=group_of(spool.image_count),
        created_at=now,
        dispatch_at=now,
        deadline_at=deadline_at,
    )


def _copy(session: Session, statement: LiteralString, file: IO[bytes]) -> None:
    file.seek(0)
    with connection_of(session).cursor() as cursor, cursor.copy(statement) as copy:
        copyfileobj(file, copy)


def _insert_groups(session: Session, request: ProcessingRequest) -> None:
    execute(
        session,
        """
        INSERT INTO image_group (request_id, number, images)
        SELECT %(request_id)s, number, least(%(size)s, %(images)s - (number - 1) * %(size)s)
        FROM generate_series(1, (%(images)s + %(size)s - 1) / %(size)s) AS number
        """,
        {"request_id": request.id, "images": request.images, "size": IMAGES_PER_GROUP},
    )
