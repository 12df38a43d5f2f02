"""Against a real receiver, through the real guard."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import Event
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from standardwebhooks import Webhook

from services.ingest.changes import redeliver
from services.notifier.deliver import CLAIM_MARGIN_SECONDS, WebhookSender, claim_delivery, deliver
from shared.db import Database
from shared.egress import Egress
from shared.schemas.accounts import DEFAULT_ACCOUNT
from tests.integration.race import overtaken
from tests.integration.seed import Row, deliveries_of, events_of, pass_time, sql
from tests.origin import Exchange, Origin, close_at_once, drip, late, reset_after, status
from tests.stack import until

HOOK = "/hook"


def delivery_of(database: Database, request_id: UUID) -> Row:
    (delivery,) = deliveries_of(database, request_id)
    return delivery


def attempts_of(database: Database, request_id: UUID) -> list[Row]:
    return sql(
        database,
        "SELECT a.* FROM delivery_attempt a JOIN delivery d ON d.id = delivery_id "
        "WHERE request_id = %(id)s ORDER BY number",
        id=request_id,
    )


def attempt(sender: WebhookSender, request_id: UUID) -> Row:
    """Deliver what is due; the delivery afterwards."""
    deliver(sender, delivery_of(sender.database, request_id)["id"])
    return delivery_of(sender.database, request_id)


def test_a_delivery_is_the_signed_event(sender: WebhookSender, request_id: UUID, receiver: Origin) -> None:
    receiver.on(HOOK, status(204))
    delivery = attempt(sender, request_id)
    assert (delivery["status"], delivery["attempt"], delivery["next_attempt_at"]) == ("delivered", 1, None)
    (post,) = receiver.posts(HOOK)
    (event,) = events_of(sender.database, request_id)
    assert post.body.decode() == event["body"]
    assert (post.headers["content-type"], post.headers["webhook-id"]) == ("application/json", str(event["id"]))
    secret = sql(sender.database, "SELECT signing_secret FROM account")[0]["signing_secret"]
    Webhook(secret).verify(post.body, dict(post.headers))
    attempt(sender, request_id)  # again: nothing is due
    (row,) = attempts_of(sender.database, request_id)
    assert (row["number"], row["status_code"], row["error"]) == (1, 204, None)
    assert receiver.hits(HOOK) == 1


@pytest.mark.parametrize(
    ("code", "result", "delay"),
    [
        (200, "delivered", None),
        (410, "stopped", None),
        *((code, "pending", 5) for code in (301, 400, 404, 500)),
        *((code, "pending", 900) for code in (429, 502, 503, 504)),  # where Retry-After counts
    ],
)
def test_the_status_decides_what_comes_next_and_no_redirect_is_followed(
    sender: WebhookSender, request_id: UUID, receiver: Origin, code: int, result: str, delay: float | None
) -> None:
    receiver.on(HOOK, status(code, b"a body", headers={"Retry-After": "900", "Location": "/elsewhere"}))
    before = counted(result)
    delivery = attempt(sender, request_id)
    assert (delivery["status"], delivery["attempt"], counted(result)) == (result, 1, before + 1)
    assert 0.8 * delay < delivery["due_in"] <= 1.1 * delay if delay else delivery["next_attempt_at"] is None
    (row,) = attempts_of(sender.database, request_id)
    error = None if code == 200 else f"HTTP {code}"
    assert (row["status_code"], row["error"], row["response_excerpt"]) == (code, error, "a body")
    assert receiver.hits("/elsewhere") == 0


def counted(result: str) -> float:
    return REGISTRY.get_sample_value("halftone_delivery_results_total", {"status": result}) or 0.0


@pytest.mark.parametrize(
    ("behaviour", "code", "seconds"),
    [
        (close_at_once, "connect_failure", 20),
        (reset_after(b"", sent=-1), "connect_failure", 20),
        (late(status(200), seconds=30), "timeout", 0.3),
    ],
    ids=["closed", "reset", "silent"],
)
def test_no_answer_is_an_attempt_too(
    sender: WebhookSender, request_id: UUID, receiver: Origin, behaviour: Any, code: str, seconds: float
) -> None:
    receiver.on(HOOK, behaviour)
    assert attempt(replace(sender, seconds=seconds), request_id)["status"] == "pending"
    (row,) = attempts_of(sender.database, request_id)
    assert row["status_code"] is None
    assert row["error"].startswith(f"{code}: ")


def test_an_event_that_cannot_be_signed_is_given_up_like_any_other(sender: WebhookSender, request_id: UUID) -> None:
    sql(sender.database, "UPDATE account SET previous_secret = 'x', previous_secret_until = now() + interval '1 h'")
    assert 4 < attempt(sender, request_id)["due_in"] <= 5.5
    assert attempts_of(sender.database, request_id)[0]["error"] == "internal_error: The event could not be sent."
    sql(sender.database, "UPDATE delivery SET attempt = 9, next_attempt_at = now()")
    assert attempt(sender, request_id)["status"] == "exhausted"


def test_a_private_address_is_never_posted_to(sender: WebhookSender, request_id: UUID, receiver: Origin) -> None:
    assert attempt(replace(sender, egress=Egress()), request_id)["status"] == "stopped"
    assert attempts_of(sender.database, request_id)[0]["error"].startswith("blocked_url: ")
    assert receiver.hits(HOOK) == 0


@pytest.mark.parametrize(
    ("behaviour", "result", "excerpt"),
    [
        (drip(b"x" * 1000, every=0.01, size=100), "delivered", "x" * 500),
        (status(500, b"a\x00b\xff"), "pending", "a\ufffdb\ufffd"),
    ],
    ids=["endless", "nul"],
)
def test_of_an_answer_the_status_counts_and_its_body_is_kept_as_a_short_text(
    sender: WebhookSender, request_id: UUID, receiver: Origin, behaviour: Any, result: str, excerpt: str
) -> None:
    receiver.on(HOOK, behaviour)
    assert attempt(sender, request_id)["status"] == result
    assert attempts_of(sender.database, request_id)[0]["response_excerpt"] == excerpt


def test_the_schedule_is_followed_with_the_same_body(sender: WebhookSender, request_id: UUID, receiver: Origin) -> None:
    receiver.on(HOOK, status(500))
    waits = []
    for _ in range(9):
        waits.append(attempt(sender, request_id)["due_in"])
        assert receiver.hits(HOOK) == len(waits)
        attempt(sender, request_id)
        assert receiver.hits(HOOK) == len(waits)
        pass_time(sender.database, request_id, waits[-1] + 1)
    schedule = [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    assert all(0.99 * due < wait <= 1.1 * due for wait, due in zip(waits, schedule, strict=True))
    assert attempt(sender, request_id)["status"] == "exhausted"
    posts = receiver.posts(HOOK)
    assert len(posts) == len(attempts_of(sender.database, request_id)) == 10
    assert len({post.body for post in posts}) == len({post.headers["webhook-id"] for post in posts}) == 1


@pytest.mark.parametrize("hours", [1, 0])
def test_during_a_rotation_both_secrets_sign_and_afterwards_the_new_one_alone(
    sender: WebhookSender, request_id: UUID, receiver: Origin, hours: int
) -> None:
    receiver.on(HOOK, status(200))
    old = "whsec_" + "b2xk" * 8
    new = sql(sender.database, "SELECT signing_secret FROM account")[0]["signing_secret"]
    sql(
        sender.database,
        "UPDATE account SET previous_secret = %(old)s, previous_secret_until = now() + %(hours)s * interval '1 h'",
        old=old,
        hours=hours,
    )
    attempt(sender, request_id)
    (post,) = receiver.posts(HOOK)
    signing = [new, old] if hours else [new]
    for secret in signing:
        Webhook(secret).verify(post.body, dict(post.headers))
    assert len(post.headers["webhook-signature"].split()) == len(signing)


def test_a_message_that_comes_twice_at_once_is_one_attempt(database: Database, request_id: UUID) -> None:
    delivery_id = delivery_of(database, request_id)["id"]
    claim = partial(claim_delivery, delivery_id=delivery_id, seconds=60)
    first, second = overtaken(database, claim, claim)
    assert (first is not None, second) == (True, None)
    assert delivery_of(database, request_id)["attempt"] == 1


def test_an_attempt_that_never_reported_is_on_record_and_the_next_is_due_after_its_claim(
    sender: WebhookSender, request_id: UUID, receiver: Origin
) -> None:
    receiver.on(HOOK, status(200))
    delivery_id = delivery_of(sender.database, request_id)["id"]
    sender.database.transact(lambda session: claim_delivery(session, delivery_id, seconds=60))
    assert 50 < attempt(sender, request_id)["due_in"] <= 60
    pass_time(sender.database, request_id, 61)
    assert attempt(sender, request_id)["status"] == "delivered"
    assert [row["error"] for row in attempts_of(sender.database, request_id)] == ["never reported", None]


@contextmanager
def slow_attempt(
    sender: WebhookSender, request_id: UUID, receiver: Origin, *following: Callable[[Exchange], None]
) -> Iterator[None]:
    """An attempt is waiting for its answer, a 200 at the end; `following` are the answers to the attempts after it."""
    answer = Event()

    def wait(exchange: Exchange) -> None:
        assert answer.wait(10)
        status(200)(exchange)

    receiver.on(HOOK, wait, *following)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(attempt, sender, request_id)
        until(lambda: receiver.hits(HOOK) == 1)
        try:
            yield
        finally:
            answer.set()
        slow.result(timeout=10)


def test_a_slow_receiver_gets_one_post_at_a_time_however_long_a_post_may_take(
    sender: WebhookSender, request_id: UUID, receiver: Origin
) -> None:
    patient = replace(sender, seconds=90.0)
    with slow_attempt(patient, request_id, receiver):
        pass_time(sender.database, request_id, 90)
        assert attempt(patient, request_id)["attempt"] == 1
    assert delivery_of(sender.database, request_id)["status"] == "delivered"
    assert receiver.hits(HOOK) == 1


def test_an_older_result_does_not_overwrite(sender: WebhookSender, request_id: UUID, receiver: Origin) -> None:
    with slow_attempt(sender, request_id, receiver, status(500)):
        pass_time(sender.database, request_id, sender.seconds + CLAIM_MARGIN_SECONDS)
        assert attempt(sender, request_id)["attempt"] == 2
    delivery = delivery_of(sender.database, request_id)
    assert (delivery["status"], delivery["attempt"]) == ("pending", 2)
    assert [row["status_code"] for row in attempts_of(sender.database, request_id)] == [200, 500]


def test_a_redelivery_during_an_attempt_is_made(sender: WebhookSender, request_id: UUID, receiver: Origin) -> None:
    with slow_attempt(sender, request_id, receiver, status(200)):
        _redeliver(sender.database, request_id)
    assert delivery_of(sender.database, request_id)["status"] == "pending"
    assert attempt(sender, request_id)["status"] == "delivered"
    assert receiver.hits(HOOK) == 2


def test_a_redelivery_has_the_same_id_and_a_schedule_of_its_own(
    sender: WebhookSender, request_id: UUID, receiver: Origin
) -> None:
    receiver.on(HOOK, status(410), status(500))
    assert attempt(sender, request_id)["status"] == "stopped"
    _redeliver(sender.database, request_id)
    delivery = attempt(sender, request_id)
    assert (delivery["status"], delivery["attempt"]) == ("pending", 2)
    assert 4 < delivery["due_in"] <= 5.5
    assert len({post.headers["webhook-id"] for post in receiver.posts(HOOK)}) == 1


def test_a_delivery_of_a_deleted_request_is_nothing_even_if_it_is_deleted_during_an_attempt(
    sender: WebhookSender, request_id: UUID, receiver: Origin
) -> None:
    delivery_id = delivery_of(sender.database, request_id)["id"]

    def delete_and_answer(exchange: Exchange) -> None:
        sql(sender.database, "DELETE FROM processing_request")
        status(200)(exchange)

    receiver.on(HOOK, delete_and_answer)
    for _ in range(2):
        deliver(sender, delivery_id)
    assert receiver.hits(HOOK) == 1
    assert sql(sender.database, "SELECT 1 FROM delivery UNION ALL SELECT 1 FROM delivery_attempt") == []


def _redeliver(database: Database, request_id: UUID) -> None:
    delivery_id = delivery_of(database, request_id)["id"]
    database.transact(lambda session: redeliver(session, DEFAULT_ACCOUNT, delivery_id))
