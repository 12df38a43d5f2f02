"""An attempt keeps the headers that it sent, from which its receiver can be checked by hand."""

from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event
from standardwebhooks import Webhook

from services.notifier.deliver import WebhookSender, claim_delivery
from services.notifier.reconcile import Reconciler
from shared.egress import Egress
from tests.integration.notifier.conftest import finished
from tests.integration.notifier.test_deliver import HOOK, attempt, attempts_of, delivery_of
from tests.integration.seed import Row, events_of, pass_time, sql
from tests.origin import Origin, close_at_once, status


def kept(row: Row) -> dict[str, Any]:
    names = ("webhook-timestamp", "webhook-signature")
    return {name: row[name.replace("-", "_")] for name in names}


def test_they_are_those_that_were_sent_also_where_no_answer_came(
    sender: WebhookSender, request_id: UUID, receiver: Origin
) -> None:
    receiver.on(HOOK, status(500), close_at_once)
    for _ in range(2):
        attempt(sender, request_id)
        pass_time(sender.database, request_id, 6)
    rows, posts = attempts_of(sender.database, request_id), receiver.posts(HOOK)
    assert len(rows) == len(posts) == 2
    for row, post in zip(rows, posts, strict=True):
        assert kept(row).items() <= dict(post.headers).items()


def test_they_verify_with_the_secret_which_is_not_kept_with_them(
    sender: WebhookSender, request_id: UUID, receiver: Origin
) -> None:
    receiver.on(HOOK, status(200))
    attempt(sender, request_id)
    (row,), (sent,) = attempts_of(sender.database, request_id), events_of(sender.database, request_id)
    secret = sql(sender.database, "SELECT signing_secret FROM account")[0]["signing_secret"]
    Webhook(secret).verify(sent["body"], {"webhook-id": str(sent["id"])} | kept(row))
    assert secret.removeprefix("whsec_") not in str(row)


def test_they_are_written_with_the_result(sender: WebhookSender, request_id: UUID, receiver: Origin) -> None:
    receiver.on(HOOK, status(200))
    seen: list[str] = []
    engine = sender.database.engine
    event.listen(engine, "before_cursor_execute", lambda _1, _2, statement, *_: seen.append(statement))
    attempt(sender, request_id)
    (written,) = (statement for statement in seen if statement.startswith("UPDATE delivery_attempt"))
    assert "webhook_signature" in written


def test_an_attempt_that_never_reported_has_none(sender: WebhookSender, request_id: UUID, receiver: Origin) -> None:
    delivery_id = delivery_of(sender.database, request_id)["id"]
    sender.database.transact(lambda session: claim_delivery(session, delivery_id, seconds=60))
    (row,) = attempts_of(sender.database, request_id)
    assert (row["error"], set(kept(row).values())) == ("never reported", {None})


def test_an_attempt_that_reached_no_receiver_has_none(sender: WebhookSender, reconciler: Reconciler) -> None:
    with Origin() as gone:
        request_id = finished(sender.database, reconciler, gone.url(HOOK))
    with closing(Egress((gone.place,))) as egress:
        attempt(replace(sender, egress=egress), request_id)
    (row,) = attempts_of(sender.database, request_id)
    assert row["error"].startswith("connect_failure: ")
    assert set(kept(row).values()) == {None}


@pytest.mark.parametrize("reason", ["blocked_url", "internal_error"])
def test_an_attempt_that_was_not_sent_has_none(
    sender: WebhookSender, request_id: UUID, receiver: Origin, reason: str
) -> None:
    if reason == "blocked_url":
        sender = replace(sender, egress=Egress())
    else:
        sql(sender.database, "UPDATE account SET previous_secret = 'x', previous_secret_until = now() + interval '1 h'")
    attempt(sender, request_id)
    (row,) = attempts_of(sender.database, request_id)
    assert row["error"].startswith(f"{reason}: ")
    assert set(kept(row).values()) == {None}
    assert receiver.hits(HOOK) == 0
