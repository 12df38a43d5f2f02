"""A request under its row lock, for the calls that change it. Lock order: request, group, images by number."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlmodel import Session, select

from shared.db import execute
from shared.http.problems import not_found
from shared.lifecycle import RequestStatus
from shared.schemas.api import Counts, request_view
from shared.schemas.tables import ProcessingRequest


def locked_request(session: Session, account: UUID, request_id: UUID) -> ProcessingRequest:
    """The account's request, locked until the transaction ends.

    Raises:
        Problem: 404, also for another account's request.

    """
    query = (
        select(ProcessingRequest)
        .where(ProcessingRequest.id == request_id, ProcessingRequest.account_id == account)
        .with_for_update(key_share=True)  # FOR NO KEY UPDATE: foreign keys to the row stay checkable
    )
    request = session.exec(query).one_or_none()
    if request is None:
        raise not_found()
    return request


def is_terminal(request: ProcessingRequest) -> bool:
    return RequestStatus(request.status).terminal


def view(session: Session, request: ProcessingRequest, *, public_url: str) -> Mapping[str, Any]:
    """The request's JSON as it is now, its open groups counted in."""
    sums = execute(
        session,
        """
        SELECT now() AS now, coalesce(sum(completed), 0)::int AS completed, coalesce(sum(failed), 0)::int AS failed,
               coalesce(sum(cancelled), 0)::int AS cancelled, coalesce(sum(source_bytes), 0)::bigint AS source_bytes,
               coalesce(sum(rendition_bytes), 0)::bigint AS rendition_bytes
        FROM image_group WHERE request_id = %(id)s AND state <> 'settled'
        """,
        {"id": request.id},
    )[0]
    now = sums.pop("now")
    counts = Counts(**{name: getattr(request, name) + extra for name, extra in sums.items()})
    return request_view(request, counts, public_url=public_url, now=now)
