"""The tables, as SQLModel classes; deploy/migrations creates them, and a test compares the two.

The hot statements (claim, settle, reconcile) are plain SQL beside their step; these classes serve other reads and
one-row writes.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Column, Index, Integer, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.ids import uuid7
from shared.lifecycle import DeliveryStatus, GroupState, ImageState, RequestStatus
from shared.schemas.accounts import time_column


class ProcessingRequest(SQLModel, table=True):
    """One uploaded manifest. Counters hold what its settled groups added; open groups hold theirs themselves."""

    __tablename__ = "processing_request"
    __table_args__ = (
        Index("request_newest", "account_id", text("created_at DESC"), text("id DESC")),
        Index("request_newest_of_status", "account_id", "status", text("created_at DESC"), text("id DESC")),
        Index("request_finished_at", "finished_at", postgresql_where=text("finished_at IS NOT NULL")),
        Index(
            "request_with_sources",
            "finished_at",
            postgresql_where=text("finished_at IS NOT NULL AND sources_deleted_at IS NULL"),
        ),
        Index("request_open", "deadline_at", postgresql_where=text("finished_at IS NULL")),
        Index("request_stopped", "id", postgresql_where=text("finished_at IS NULL AND stop_reason IS NOT NULL")),
        Index("request_dispatch_at", "dispatch_at", postgresql_where=text("dispatch_at IS NOT NULL")),
        Index(
            "request_idempotency",
            "account_id",
            "idempotency_key",
            unique=True,
            postgresql_where=text("idempotency_key IS NOT NULL"),
        ),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    account_id: UUID = Field(foreign_key="account.id")
    run: int = Field(default=1, sa_type=Integer)
    status: str = Field(default=RequestStatus.PENDING, sa_type=Text)
    stop_reason: str | None = Field(default=None, sa_type=Text)
    quality: int = Field(default=50, sa_type=SmallInteger)
    mode: str = Field(default="absolute", sa_type=Text)
    format: str = Field(default="keep", sa_type=Text)
    max_side: int | None = Field(default=None, sa_type=Integer)
    webhook_url: str | None = Field(default=None, sa_type=Text)
    products: int = Field(sa_type=Integer)
    images: int = Field(sa_type=Integer)
    rejected: int = Field(default=0, sa_type=Integer)
    open_groups: int = Field(default=0, sa_type=Integer)  # that are not settled; the last one finishes the request
    completed: int = Field(default=0, sa_type=Integer)
    failed: int = Field(default=0, sa_type=Integer)
    cancelled: int = Field(default=0, sa_type=Integer)
    source_bytes: int = Field(default=0, sa_type=BigInteger)
    rendition_bytes: int = Field(default=0, sa_type=BigInteger)
    # Two marks of how many images were settled when, half a minute apart: the rate behind `images_per_second`. A run
    # begins with `previous_mark_settled` alone: the images settled before it.
    mark_at: datetime | None = time_column()
    mark_settled: int = Field(default=0, sa_type=Integer)
    previous_mark_at: datetime | None = time_column()
    previous_mark_settled: int = Field(default=0, sa_type=Integer)
    created_at: datetime = time_column(nullable=False, default=True)
    started_at: datetime | None = time_column()
    finished_at: datetime | None = time_column()
    deadline_at: datetime = time_column(nullable=False)
    # When the sweeper sends DispatchRequest again; None where no group waits.
    dispatch_at: datetime | None = time_column(default=True)
    sources_deleted_at: datetime | None = time_column()
    idempotency_key: str | None = Field(default=None, sa_type=Text)
    idempotency_hash: str | None = Field(default=None, sa_type=Text)
    accepted_body: dict[str, Any] | None = Field(default=None, sa_column=Column(JSONB))


class Product(SQLModel, table=True):
    """One row of the manifest; `images` are image numbers by position."""

    __tablename__ = "product"

    request_id: UUID = Field(primary_key=True)
    row: int = Field(primary_key=True, sa_type=Integer)
    serial_number: str = Field(sa_type=Text)
    name: str = Field(sa_type=Text)
    images: list[int] = Field(sa_column=Column(ARRAY(Integer), nullable=False))


class RejectedRow(SQLModel, table=True):
    """A row error that `on_invalid=skip` left out, in the order found."""

    __tablename__ = "rejected_row"

    request_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_type=Integer)
    error: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))


class ImageGroup(SQLModel, table=True):
    """Images 128(n-1)+1 to 128n of a request. `reconcile_at` is its only timer; `in_flight` fills the window."""

    __tablename__ = "image_group"
    __table_args__ = (
        Index("group_reconcile_at", "reconcile_at", postgresql_where=text("reconcile_at IS NOT NULL")),
        Index("group_open", "request_id", "state", "number", postgresql_where=text("state <> 'settled'")),
        # Only these open groups have counts that the request has not: a huge request has thousands that were never
        # dispatched. `retry` turns `dispatch_no` below zero until the group is dispatched again.
        Index("group_counted", "request_id", "number", postgresql_where=text("state <> 'settled' AND dispatch_no > 0")),
    )

    request_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_type=Integer)
    state: str = Field(default=GroupState.WAITING, sa_type=Text)
    dispatch_no: int = Field(default=0, sa_type=Integer)
    reconcile_at: datetime | None = time_column()
    reconcile_delay: int = Field(default=60, sa_type=Integer)  # seconds from the next dispatch to its reconcile
    in_flight: int = Field(default=0, sa_type=Integer)
    images: int = Field(sa_type=Integer)
    completed: int = Field(default=0, sa_type=Integer)
    failed: int = Field(default=0, sa_type=Integer)
    cancelled: int = Field(default=0, sa_type=Integer)
    source_bytes: int = Field(default=0, sa_type=BigInteger)
    rendition_bytes: int = Field(default=0, sa_type=BigInteger)


class ImageResult(SQLModel):
    """The columns that settling an image writes; SETTLE is made from these fields (worker/settle.py)."""

    state: str = Field(default=ImageState.PENDING, sa_type=Text)
    error_code: str | None = Field(default=None, sa_type=Text)
    error_detail: str | None = Field(default=None, sa_type=Text)
    source_bytes: int | None = Field(default=None, sa_type=BigInteger)
    source_format: str | None = Field(default=None, sa_type=Text)
    source_width: int | None = Field(default=None, sa_type=Integer)
    source_height: int | None = Field(default=None, sa_type=Integer)
    source_sha256: str | None = Field(default=None, sa_type=Text)
    rendition_bytes: int | None = Field(default=None, sa_type=BigInteger)
    rendition_format: str | None = Field(default=None, sa_type=Text)
    rendition_width: int | None = Field(default=None, sa_type=Integer)
    rendition_height: int | None = Field(default=None, sa_type=Integer)
    rendition_sha256: str | None = Field(default=None, sa_type=Text)
    rendition_quality: int | None = Field(default=None, sa_type=SmallInteger)
    kept_original: bool | None = None
    fetch_ms: int | None = Field(default=None, sa_type=Integer)  # of the last fetch that ended, well or not


class Image(ImageResult, table=True):
    """One distinct URL within a request. `claimed_by` and `not_before` are the claim.

    `deferred`: the claim waits in the slow queue, no worker has begun. `isolated`: a worker lost a claim on it.
    `settled_at` is None while it is pending, and where it was settled before there was this column.
    """

    __tablename__ = "image"

    request_id: UUID = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_type=Integer)
    url: str = Field(sa_type=Text)
    run: int = Field(default=1, sa_type=Integer)
    attempts: int = Field(default=0, sa_type=SmallInteger)
    not_before: datetime = time_column(nullable=False, default=True)
    claimed_by: UUID | None = None
    deferred: bool = False
    isolated: bool = False
    settled_at: datetime | None = time_column()


class Erasure(SQLModel, table=True):
    """A deleted request whose rows from `next_number` to `last_number`, and whose files, are still to be erased.

    A trigger of the database writes it where a request with many rows is deleted.
    """

    __tablename__ = "erasure"

    request_id: UUID = Field(primary_key=True)
    next_number: int = Field(default=1, sa_type=Integer)
    last_number: int = Field(sa_type=Integer)
    created_at: datetime = time_column(nullable=False, default=True)


class Event(SQLModel, table=True):
    """One per finished run. `body` is the exact text of every delivery."""

    __tablename__ = "event"
    __table_args__ = (Index("event_once", "request_id", "run", unique=True),)

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    request_id: UUID = Field(foreign_key="processing_request.id", ondelete="CASCADE")
    run: int = Field(sa_type=Integer)
    type: str = Field(sa_type=Text)
    body: str = Field(sa_type=Text)
    created_at: datetime = time_column(nullable=False, default=True)


class Delivery(SQLModel, table=True):
    """One event to one URL. `attempt` counts claims; a result is written only by the attempt that claimed last."""

    __tablename__ = "delivery"
    __table_args__ = (
        Index("delivery_once", "event_id", "url", unique=True),
        Index("delivery_due", "next_attempt_at", postgresql_where=text("status = 'pending'")),
        Index("delivery_exhausted", "id", postgresql_where=text("status = 'exhausted'")),
        Index("delivery_of_request", "request_id"),
    )

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    event_id: UUID = Field(foreign_key="event.id", ondelete="CASCADE")
    request_id: UUID
    url: str = Field(sa_type=Text)
    status: str = Field(default=DeliveryStatus.PENDING, sa_type=Text)
    attempt: int = Field(default=0, sa_type=Integer)
    first_attempt: int = Field(default=1, sa_type=Integer)  # where the schedule began: a redelivery starts it anew
    next_attempt_at: datetime | None = time_column()
    enqueued_at: datetime | None = time_column()  # when the sweeper last sent `Deliver` for it
    created_at: datetime = time_column(nullable=False, default=True)


class DeliveryAttempt(SQLModel, table=True):
    """One POST and its outcome; `status_code` is None where no answer came.

    The headers are None where nothing was sent, no result was reported, or it was sent before there were these columns.
    `webhook-id` is the event's id.
    """

    __tablename__ = "delivery_attempt"

    delivery_id: UUID = Field(primary_key=True, foreign_key="delivery.id", ondelete="CASCADE")
    number: int = Field(primary_key=True, sa_type=Integer)
    at: datetime = time_column(nullable=False, default=True)
    status_code: int | None = Field(default=None, sa_type=Integer)
    error: str | None = Field(default=None, sa_type=Text)
    duration_ms: int = Field(sa_type=Integer)
    response_excerpt: str = Field(default="", sa_type=Text)
    webhook_timestamp: str | None = Field(default=None, sa_type=Text)
    webhook_signature: str | None = Field(default=None, sa_type=Text)


class BrokerEpoch(SQLModel, table=True):
    """One row: the epoch that Redis must know too, or it was wiped.

    `repair_request` and `repair_group` say how far the repair after a wipe has come; both are None once it is complete.
    """

    __tablename__ = "broker_epoch"

    id: int = Field(default=1, primary_key=True, sa_type=Integer)
    epoch: UUID
    begun_at: datetime = time_column(nullable=False, default=True)
    repair_request: UUID | None = None
    repair_group: int | None = Field(default=None, sa_type=Integer)


class StoreIdentity(SQLModel, table=True):
    """One row: the id that the blob store must have too before orphans are deleted in it (blobs/identity.py)."""

    __tablename__ = "store_identity"

    id: int = Field(default=1, primary_key=True, sa_type=Integer)
    store_id: UUID
