"""Checks of the webhooks received: every event, signed, the same bytes each time, and never before `GET` shows it."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import LiteralString

from standardwebhooks import Webhook

from deploy.demo.receiver import Arrival
from tests.api import TERMINAL
from tests.chaos.invariants import Database, Row, Violation, rows_of

LONGEST_WAY = timedelta(seconds=60)
"""From signing to receipt, a partition between the two included."""


def check_hooks(database: Database, posts: Sequence[Arrival], ids: Sequence[str]) -> list[Violation]:
    """`posts` are those about the requests `ids`, `ids` the run's requests."""
    events = {str(row["id"]): row for row in rows_of(database, _EVENTS, list(ids))}
    by_event: dict[str, list[Arrival]] = defaultdict(list)
    for post in posts:
        by_event[post.event_id].append(post)
    found = [Violation("receivers_ids_are_the_events", details) for details in _ids(events, by_event)]
    for event_id in events.keys() & by_event.keys():
        found += _one_event(events[event_id], by_event[event_id])
    return found


def _ids(events: dict[str, Row], by_event: dict[str, list[Arrival]]) -> Iterator[str]:
    for event_id in by_event.keys() - events.keys():
        yield f"{event_id} was received and is no event ({len(by_event[event_id])} times)"
    for event_id, row in events.items():
        if row["webhook_url"] and event_id not in by_event:
            yield f"{event_id} of {row['request_id']} never came; its delivery is {row['delivery_status']}"


def _one_event(row: Row, received: Sequence[Arrival]) -> Iterator[Violation]:
    if {post.body for post in received} != {row["body"].encode()}:
        yield Violation("bodies_are_equal", f"{row['id']}: {len({post.body for post in received})} bodies")
    for post in received:
        yield from _signature(row, post)
        yield from _too_early(row, post)
    wanted = "stopped" if "/410/" in row["webhook_url"] else "delivered"
    if row["delivery_status"] != wanted:
        yield Violation("every_delivery_ends", f"{row['id']} is {row['delivery_status']} instead of {wanted}")


def _signature(row: Row, post: Arrival) -> Iterator[Violation]:
    """Not `verify`: it judges the age as of now, and a run may take longer than its five minutes."""
    signed_at = datetime.fromtimestamp(int(post.headers.get("webhook-timestamp", "0")), UTC)
    wanted = Webhook(row["signing_secret"]).sign(str(row["id"]), signed_at, post.body.decode())
    if wanted not in post.headers.get("webhook-signature", "").split():
        yield Violation("signatures_are_valid", f"{row['id']}: {post.headers.get('webhook-signature')}")
    if abs(post.at - signed_at) > LONGEST_WAY:
        yield Violation("signatures_are_valid", f"{row['id']}: signed at {signed_at}, received at {post.at}")


def _too_early(row: Row, post: Arrival) -> Iterator[Violation]:
    """Where the gateway could not be asked at that moment, the clocks must do: both are this machine's."""
    if post.shown is None:
        early = post.at < row["created_at"]
    else:
        early = post.shown["status"] not in TERMINAL and post.shown["run"] == row["run"]
    if early:
        yield Violation(
            "no_webhook_before_get", f"{row['id']}: GET showed {post.status_shown} at {post.at:%H:%M:%S.%f}"
        )


_EVENTS: LiteralString = """
SELECT e.*, r.webhook_url, a.signing_secret, d.status AS delivery_status
FROM event e JOIN processing_request r ON r.id = e.request_id JOIN account a ON a.id = r.account_id
LEFT JOIN delivery d ON d.event_id = e.id WHERE r.id = ANY(%s::uuid[])
"""
