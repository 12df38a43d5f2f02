"""Changes to a stored request, each in one transaction: cancel, retry, erase, redeliver.

Lock order: request, groups, images, each by number; then the account.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session, select

from services.ingest.accounts import quotas
from shared.db import Database, execute, is_locked
from shared.http.problems import Problem, not_found
from shared.lifecycle import RequestStatus, StopReason
from shared.schemas.accounts import NO_LIMITS, Limits
from shared.schemas.api import Counts, request_view, timestamp
from shared.schemas.tables import Erasure, ProcessingRequest

T = TypeVar("T")


class Changes:
    """Runs the changes of a process: one at a time for each request, and few enough to leave connections for uploads.

    A client that repeats a call which takes long gets a 409 at once, not one connection and thread after another.
    """

    def __init__(self, database: Database, *, at_once: int) -> None:
        self._database = database
        self._at_once = at_once
        self._under_way: set[tuple[UUID, UUID]] = set()
        self._lock = Lock()

    def run(self, account: UUID, subject: UUID, work: Callable[[Session], T]) -> T:
        """`work` in a transaction, like `Database.transact`; `subject` is the account's request or delivery.

        The subject may be another account's, which `work` finds out: a change of the owner's tells nothing of it.

        Raises:
            Problem: 409 while another change of it is under way, in this process or another; 503 while there are too
                many changes.

        """
        with self._alone((account, subject)):
            try:
                return self._database.transact(work)
            except (DBAPIError, psycopg.Error) as error:
                if is_locked(error):
                    raise _conflict() from None
                raise

    @contextmanager
    def _alone(self, subject: tuple[UUID, UUID]) -> Iterator[None]:
        with self._lock:
            if subject in self._under_way:
                raise _conflict()
            if len(self._under_way) >= self._at_once:
                raise Problem(
                    503, "busy", "Too many changes are under way; try again soon.", headers={"Retry-After": "2"}
                )
            self._under_way.add(subject)
        try:
            yield
        finally:
            with self._lock:
                self._under_way.remove(subject)


def _conflict() -> Problem:
    detail = "Another change of this is under way; try again in a moment."
    return Problem(409, "conflict", detail, headers={"Retry-After": "2"})


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
        raise not_found("request")
    return request


def is_terminal(request: ProcessingRequest) -> bool:
    return RequestStatus(request.status).terminal


def view(session: Session, request: ProcessingRequest, *, public_url: str) -> Mapping[str, Any]:
    """The request's JSON as it is now, including the counts of those open groups that were dispatched in this run."""
    sums = execute(
        session,
        """
        SELECT now() AS now, coalesce(sum(completed), 0)::int AS completed, coalesce(sum(failed), 0)::int AS failed,
               coalesce(sum(cancelled), 0)::int AS cancelled, coalesce(sum(source_bytes), 0)::bigint AS source_bytes,
               coalesce(sum(rendition_bytes), 0)::bigint AS rendition_bytes
        FROM image_group WHERE request_id = %(id)s AND state <> 'settled' AND dispatch_no > 0
        """,
        {"id": request.id},
    )[0]
    now = sums.pop("now")
    counts = Counts(**{name: getattr(request, name) + extra for name, extra in sums.items()})
    return request_view(request, counts, public_url=public_url, now=now)


def cancel(session: Session, account: UUID, request_id: UUID) -> ProcessingRequest:
    """Stop the request: nothing more of it is claimed or dispatched, and `CloseRequest` or the sweeper closes it.

    An image that is being compressed may still be completed, if it settles first. Cancelling twice is the same as once.

    Raises:
        Problem: 404, 409 if it is terminal.

    """
    request = locked_request(session, account, request_id)
    if is_terminal(request):
        raise Problem(409, "terminal", "The request is already finished.")
    request.stop_reason = request.stop_reason or StopReason.CANCELLED
    request.dispatch_at = None
    return request


def retry(
    session: Session, account: UUID, request_id: UUID, *, deadline: timedelta, limits: Limits = NO_LIMITS
) -> ProcessingRequest:
    """Start the next run of a finished request, with only its failed and cancelled images.

    No image is written, so a million take no longer: those that failed in an earlier run are pending in this one, and
    dispatch reopens them group by group.

    They are charged to the account, whose defaults are `limits`.

    Raises:
        Problem: 404, 409 if it is not terminal or nothing failed, 429 if a quota is used up.

    """
    request = locked_request(session, account, request_id)
    if not is_terminal(request):
        raise Problem(409, "not_terminal", "The request is still running; retry it when it is finished.")
    again = request.failed + request.cancelled
    if again == 0:
        raise Problem(409, "nothing_to_retry", "No image of the request failed or was cancelled.")
    quotas.check(session, account, again, limits)  # before thousands of groups are written
    _reopen_groups(session, request_id)
    _begin_run(session, request_id, request.run + 1, deadline=deadline)
    session.refresh(request)
    quotas.charge(session, account, again, limits)
    return request


def _reopen_groups(session: Session, request_id: UUID) -> None:
    """Reopen the groups with failed or cancelled images.

    What they completed stays counted on the request until they are dispatched, which their `dispatch_no` below zero
    says: whoever reads the request must not sum up thousands of groups.
    """
    execute(
        session,
        """
        WITH reopened AS (
            UPDATE image_group SET state = 'waiting', reconcile_at = NULL, reconcile_delay = 60, in_flight = 0,
                                   failed = 0, cancelled = 0, dispatch_no = -abs(dispatch_no)
            WHERE request_id = %(id)s AND failed + cancelled > 0
            RETURNING 1
        )
        UPDATE processing_request
        SET failed = 0, cancelled = 0, open_groups = open_groups + (SELECT count(*) FROM reopened)
        WHERE id = %(id)s
        """,
        {"id": request_id},
    )


def _begin_run(session: Session, request_id: UUID, run: int, *, deadline: timedelta) -> None:
    """A larger `run` in the same statement is the only legal way out of a terminal state; a trigger refuses any other.

    The rate of this run does not count the images that earlier runs completed.
    """
    execute(
        session,
        """
        UPDATE processing_request
        SET run = %(run)s, status = 'pending', stop_reason = NULL, started_at = NULL, finished_at = NULL,
            dispatch_at = now(), deadline_at = now() + %(deadline)s, sources_deleted_at = NULL,
            mark_at = NULL, mark_settled = 0, previous_mark_at = NULL, previous_mark_settled = completed
        WHERE id = %(id)s
        """,
        {"id": request_id, "run": run, "deadline": deadline},
    )


def erase_request(session: Session, account: UUID, request_id: UUID) -> bool:
    """Delete a finished request, pending deliveries included: no call finds it any more.

    Returns whether its rows are gone too, and its files are to be deleted after the commit; if the process dies in
    between, housekeeping removes them as orphans. Rows and files of a large request are left to housekeeping.

    Raises:
        Problem: 404, 409 while it is running.

    """
    request = locked_request(session, account, request_id)
    if not is_terminal(request):
        cancelled = request.stop_reason == StopReason.CANCELLED
        state = "being cancelled; try again in a moment" if cancelled else "still running; cancel it first"
        raise Problem(409, "not_terminal", f"The request is {state}.")
    session.delete(request)
    session.flush()
    return session.get(Erasure, request_id) is None


def redeliver(session: Session, account: UUID, delivery_id: UUID) -> dict[str, Any]:
    """Make a delivery in any state due now: same event, same body, same `webhook-id`, a new schedule of attempts.

    Returns its JSON without the attempts.

    Raises:
        Problem: 404, also for another account's delivery.

    """
    rows = execute(
        session,
        """
        UPDATE delivery d
        SET status = 'pending', next_attempt_at = now(), enqueued_at = NULL, first_attempt = d.attempt + 1
        FROM processing_request r, event e
        WHERE d.id = %(id)s AND r.id = d.request_id AND r.account_id = %(account)s AND e.id = d.event_id
        RETURNING d.id::text, d.event_id::text, e.type, d.url, d.status, d.next_attempt_at
        """,
        {"id": delivery_id, "account": account},
    )
    if not rows:
        raise not_found("delivery")
    return rows[0] | {"next_attempt_at": timestamp(rows[0]["next_attempt_at"])}
