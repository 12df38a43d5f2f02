"""Gauges of how much is open, how late it is, what waits in the queues and how much room the blob store has.

Only notifiers have them, and every notifier shows the same numbers: take the `max` of them, not the `sum`.
"""

from collections.abc import Iterator
from typing import Any

from prometheus_client import Gauge
from sqlmodel import Session

from shared.blobs import Blobs
from shared.broker.backlog import Backlog
from shared.db import execute
from shared.errors import StorageError
from shared.messages import Message

MEASURED = Gauge(
    "halftone_measured_timestamp_seconds", "When this process last asked the database for the gauges, since 1970."
)
REQUESTS = Gauge("halftone_requests_open", "Requests that are not finished.")
OLDEST = Gauge(
    "halftone_oldest_unfinished_request_seconds", "Age of the oldest request that is not finished; 0 if there is none."
)
IMAGES = Gauge("halftone_images_open", "Images of open requests, without those of settled groups.")
IN_FLIGHT = Gauge("halftone_images_in_flight", "Images sent to workers and not settled: what fills the windows.")
GROUPS = Gauge("halftone_groups_due", "Groups that are due to be reconciled.")
GROUPS_LATE = Gauge("halftone_groups_oldest_due_seconds", "For how long the oldest group has been due.")
DELIVERIES = Gauge("halftone_deliveries", "Deliveries that have not succeeded, pending or exhausted.", ["status"])
DELIVERIES_LATE = Gauge("halftone_deliveries_oldest_due_seconds", "For how long the oldest delivery has been due.")
BROKER_UP = Gauge("halftone_broker_up", "1 if Valkey answered when the queues were measured, else 0.")
QUEUE_MESSAGES = Gauge(
    "halftone_queue_messages", "Messages that wait in a queue; gone while Valkey is away.", ["queue"]
)
QUEUE_OLDEST = Gauge(
    "halftone_queue_oldest_seconds", "Age of the first message of a queue, 0 if it is empty.", ["queue"]
)
STORE_FREE = Gauge("halftone_blob_store_free_bytes", "Room left in the blob store; NaN where it is a bucket.")
STORE_SIZE = Gauge("halftone_blob_store_size_bytes", "Size of the blob store's disk; NaN where it is a bucket.")
UNKNOWN = float("nan")


def measure(session: Session) -> None:
    """One statement; each part reads a partial index of just the rows it counts."""
    measured = execute(
        session,
        """
        SELECT requests, images, in_flight, groups, pending, exhausted,
               extract(epoch FROM now())::float8 AS measured_at,
               coalesce(extract(epoch FROM now() - created_at), 0)::float8 AS oldest,
               coalesce(extract(epoch FROM now() - reconcile_at), 0)::float8 AS groups_late,
               greatest(0, extract(epoch FROM now() - next_attempt_at))::float8 AS deliveries_late
        FROM (SELECT count(*) AS requests, min(created_at) AS created_at,
                     coalesce(sum(images - completed - failed - cancelled), 0)::float8 AS images
              FROM processing_request WHERE finished_at IS NULL),
             (SELECT coalesce(sum(in_flight), 0)::float8 AS in_flight
              FROM image_group WHERE reconcile_at IS NOT NULL AND state = 'dispatched'),
             (SELECT count(*) AS groups, min(reconcile_at) AS reconcile_at
              FROM image_group WHERE reconcile_at <= now()),
             (SELECT count(*) AS pending, min(next_attempt_at) AS next_attempt_at
              FROM delivery WHERE status = 'pending'),
             (SELECT count(*) AS exhausted FROM delivery WHERE status = 'exhausted')
        """,
    )[0]
    MEASURED.set(measured["measured_at"])
    REQUESTS.set(measured["requests"])
    OLDEST.set(measured["oldest"])
    IMAGES.set(measured["images"])
    IN_FLIGHT.set(measured["in_flight"])
    GROUPS.set(measured["groups"])
    GROUPS_LATE.set(measured["groups_late"])
    for status in ("pending", "exhausted"):
        DELIVERIES.labels(status).set(measured[status])
    DELIVERIES_LATE.set(measured["deliveries_late"])


def measure_queues(backlog: Backlog) -> None:
    """One round trip to Valkey. While it is away the queues have no numbers: old ones would mislead."""
    lengths = backlog.lengths(QUEUES)
    BROKER_UP.set(lengths is not None)
    if lengths is None:
        QUEUE_MESSAGES.clear()
        QUEUE_OLDEST.clear()
    for queue, (messages, seconds) in (lengths or {}).items():
        QUEUE_MESSAGES.labels(queue).set(messages)
        QUEUE_OLDEST.labels(queue).set(seconds)


def watch_store(store: Blobs) -> None:
    """Ask for the store's room at every scrape: a disk that hangs then holds up a scrape, and no task."""
    STORE_FREE.set_function(lambda: _room(store)[0])
    STORE_SIZE.set_function(lambda: _room(store)[1])


def _room(store: Blobs) -> tuple[float, float]:
    try:
        return store.room() or (UNKNOWN, UNKNOWN)
    except StorageError:
        return UNKNOWN, UNKNOWN


def _queues(kind: type[Any]) -> Iterator[str]:
    if "queue" in vars(kind):
        yield kind.queue
    for narrower in kind.__subclasses__():
        yield from _queues(narrower)


QUEUES = tuple(sorted(set(_queues(Message))))
"""Of every message there is."""
