"""Whether messages of a group still wait in their queue: then a copy would only wait behind them.

Batches for the slow queue are sent by themselves and may have copies there: the first that is taken claims the images,
and the others do nothing.
"""

from sqlmodel import Session

from shared.broker.backlog import Backlog
from shared.db import Database, execute
from shared.lifecycle import DUE, QUICK_IMAGES, images_of
from shared.messages import (
    CompressBatch,
    CompressIsolatedBatch,
    DispatchGroup,
    FetchBatch,
    FetchIsolatedBatch,
    FetchSlowBatch,
    QuickBatch,
)

DISPATCH_WAITS_SECONDS = 20.0
"""While the oldest dispatch message has waited longer, none is sent again: that would be every 30 s, and the one that
was sent before still waits behind it."""
MESSAGES = {
    "quick": (QuickBatch,),
    "fetch": (FetchBatch,),
    "deferred": (FetchSlowBatch, FetchBatch, QuickBatch),
    "isolated": (FetchIsolatedBatch,),
    "claimed": (CompressBatch, CompressIsolatedBatch, FetchIsolatedBatch, QuickBatch),
}
"""The messages in which a due image may wait, by its state; `claimed`: under a claim that has ended meanwhile."""
QUEUES = frozenset(message.queue for messages in MESSAGES.values() for message in messages)


def dispatch_waits(backlog: Backlog) -> bool:
    """Whether dispatch messages have waited for long: no worker takes them."""
    return backlog.waited(DispatchGroup.queue) > DISPATCH_WAITS_SECONDS


def is_queued(database: Database, backlog: Backlog, group: DispatchGroup) -> bool:
    """Whether the message itself, or messages of the group's last dispatch with due images, may still wait.

    The database is asked only if a queue is as old as the dispatch.
    """
    if dispatch_waits(backlog):
        return True
    queues = backlog.may_hold(group, QUEUES)
    return bool(queues) and not queues.isdisjoint(database.transact(lambda session: queues_of(session, group)))


def queues_of(session: Session, group: DispatchGroup) -> set[str]:
    """The queues in which messages of the group's due images would wait, if they do."""
    first, last = images_of(group.group)
    rows = execute(
        session,
        f"""
        SELECT DISTINCT CASE WHEN deferred THEN 'deferred' WHEN claimed_by IS NOT NULL THEN 'claimed'
                             WHEN isolated THEN 'isolated' WHEN number <= %(quick)s THEN 'quick'
                             ELSE 'fetch' END AS kind
        FROM image WHERE request_id = %(id)s AND number BETWEEN %(first)s AND %(last)s AND {DUE}
        """,  # noqa: S608 - a constant of ours
        {"id": group.request_id, "first": first, "last": last, "quick": QUICK_IMAGES},
    )
    return {message.queue for row in rows for message in MESSAGES[row["kind"]]}
