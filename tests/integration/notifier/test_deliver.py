"""Against a real receiver, through the real guard."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from standardwebhooks import Webhook

from services.ingest.redeliver import redeliver
from services.notifier.deliver import Courier, _claim, deliver
from services.notifier.lanes import HostLanes
from services.notifier.watch import Watcher
from shared.db import Database
from shared.egress import Egress
from shared.schemas import DEFAULT_ACCOUNT
from tests.integration.notifier.conftest import finished
from tests.integration.race import overtaken
from tests.integration.seed import Row, deliveries_of, events_of, pass_time, sql
from tests.origin import Exchange, Origin, close_at_once, drip, late, redirect, reset_after, status
from tests.stack import until

HOOK = "/hook"


@pytest.fixture
def receiver() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture
def courier(database: Database, receiver: Origin) -> Iterator[Courier]:
    egress = Egress((receiver.place,))
    yield Courier(database=database, egress=egress, lanes=HostLanes(2, Event()), seconds=2.0)
    egress.close()


@pytest.fixture
def request_id(database: Database, watcher: Watcher, receiver: Origin) -> UUID:
    """A finished request whose delivery is due."""
    return finished(database, watcher, receiver.url(HOOK))


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


def attempt(courier: Courier, request_id: UUID) -> Row:
    """Deliver what is due; the delivery afterwards."""
    deliver(courier, delivery_of(courier.database, request_id)["id"])
    return delivery_of(courier.database, request_id)


def test_a_delivery_is_the_signed_event(courier: Courier, request_id: UUID, receiver: Origin) -> None:
    receiver.on(HOOK, status(204))
    delivery = attempt(courier, request_id)
    assert (delivery["status"], delivery["attempt"], delivery["next_attempt_at"]) == ("delivered", 1, None)
    (post,) = receiver.posts(HOOK)
    (event,) = events_of(courier.database, request_id)
    assert post.body.decode() == event["body"]
    assert (post.headers["content-type"], post.headers["webhook-id"]) == ("application/json", str(event["id"]))
    secret = sql(courier.database, "SELECT signing_secret FROM account")[0]["signing_secret"]
    Webhook(secret).verify(post.body, dict(post.headers))
    (row,) = attempts_of(courier.database, request_id)
    assert (row["number"], row["status_code"], row["error"]) == (1, 204, None)


@pytest.mark.parametrize(("code", "result"), [(200, "delivered"), (500, "pending"), (410, "stopped")])
def test_what_came_of_an_attempt_is_counted(
    courier: Courier, request_id: UUID, receiver: Origin, code: int, result: str
) -> None:
    receiver.on(HOOK, status(code))
    before = counted(result)
    attempt(courier, request_id)
    assert counted(result) == before + 1


def counted(result: str) -> float:
    return REGISTRY.get_sample_value("halftone_delivery_results_total", {"status": result}) or 0.0


def test_what_was_delivered_is_not_delivered_again(courier: Courier, request_id: UUID, receiver: Origin) -> None:
    receiver.on(HOOK, status(200))
    attempt(courier, request_id)
    attempt(courier, request_id)
    assert receiver.hits(HOOK) == 1


@pytest.mark.parametrize("code", [301, 400, 404, 500])
def test_any_other_status_is_tried_again_in_five_seconds(
    courier: Courier, request_id: UUID, receiver: Origin, code: int
) -> None:
    receiver.on(HOOK, status(code, b"no, thanks", headers={"Retry-After": "3600"}))
    delivery = attempt(courier, request_id)
    assert (delivery["status"], delivery["attempt"]) == ("pending", 1)
    assert 4 < delivery["due_in"] <= 5.5
    (row,) = attempts_of(courier.database, request_id)
    assert (row["status_code"], row["error"], row["response_excerpt"]) == (code, f"HTTP {code}", "no, thanks")


def test_a_redirect_is_not_followed(courier: Courier, request_id: UUID, receiver: Origin) -> None:
    receiver.on(HOOK, redirect("/elsewhere"))
    assert attempt(courier, request_id)["status"] == "pending"
    assert receiver.hits("/elsewhere") == 0


def test_gone_stops_the_delivery(courier: Courier, request_id: UUID, receiver: Origin) -> None:
    receiver.on(HOOK, status(410))
    delivery = attempt(courier, request_id)
    assert (delivery["status"], delivery["next_attempt_at"]) == ("stopped", None)


@pytest.mark.parametrize("code", [429, 502, 503, 504])
def test_retry_after_is_honoured(courier: Courier, request_id: UUID, receiver: Origin, code: int) -> None:
    receiver.on(HOOK, status(code, headers={"Retry-After": "900"}))
    assert 890 < attempt(courier, request_id)["due_in"] <= 900


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (close_at_once, "connect_failure"),
        (reset_after(b"", sent=-1), "connect_failure"),
        (late(status(200), seconds=30), "timeout"),
    ],
    ids=["closed", "reset", "silent"],
)
def test_no_answer_is_an_attempt_too(
    database: Database, watcher: Watcher, receiver: Origin, behaviour: Any, code: str
) -> None:
    egress = Egress((receiver.place,))
    courier = Courier(database=database, egress=egress, lanes=HostLanes(2, Event()), seconds=0.3)
    receiver.on(HOOK, behaviour)
    request_id = finished(database, watcher, receiver.url(HOOK))
    assert attempt(courier, request_id)["status"] == "pending"
    (row,) = attempts_of(database, request_id)
    assert row["status_code"] is None
    assert row["error"].startswith(f"{code}: ")
    egress.close()


def test_an_event_that_cannot_be_signed_is_given_up_in_the_end_like_any_other(
    courier: Courier, request_id: UUID
) -> None:
    sql(courier.database, "UPDATE account SET previous_secret = 'x', previous_secret_until = now() + interval '1 h'")
    assert 4 < attempt(courier, request_id)["due_in"] <= 5.5
    assert attempts_of(courier.database, request_id)[0]["error"] == "internal_error: The event could not be sent."
    sql(courier.database, "UPDATE delivery SET attempt = 9, next_attempt_at = now()")
    assert attempt(courier, request_id)["status"] == "exhausted"


def test_a_private_address_is_never_posted_to(database: Database, request_id: UUID, receiver: Origin) -> None:
    courier = Courier(database=database, egress=Egress(), lanes=HostLanes(2, Event()), seconds=2.0)
    assert attempt(courier, request_id)["status"] == "pending"
    assert attempts_of(database, request_id)[0]["error"].startswith("blocked_url: ")
    assert receiver.hits(HOOK) == 0


def test_a_good_status_with_an_endless_body_is_a_success(courier: Courier, request_id: UUID, receiver: Origin) -> None:
    receiver.on(HOOK, drip(b"x" * 1000, every=0.01, size=100))
    assert attempt(courier, request_id)["status"] == "delivered"
    assert attempts_of(courier.database, request_id)[0]["response_excerpt"] == "x" * 500


def test_an_answer_with_a_nul_is_kept_as_text(courier: Courier, request_id: UUID, receiver: Origin) -> None:
    receiver.on(HOOK, status(500, b"a\x00b\xff"))
    attempt(courier, request_id)
    assert attempts_of(courier.database, request_id)[0]["response_excerpt"] == "a�b�"


def test_the_schedule_is_followed_to_its_end_with_the_same_body(
    courier: Courier, request_id: UUID, receiver: Origin
) -> None:
    receiver.on(HOOK, status(500))
    waits = []
    for _ in range(9):
        waits.append(attempt(courier, request_id)["due_in"])
        assert receiver.hits(HOOK) == len(waits)
        attempt(courier, request_id)
        assert receiver.hits(HOOK) == len(waits)
        pass_time(courier.database, request_id, waits[-1] + 1)
    schedule = [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    assert all(0.99 * due < wait <= 1.1 * due for wait, due in zip(waits, schedule, strict=True))
    assert attempt(courier, request_id)["status"] == "exhausted"
    posts = receiver.posts(HOOK)
    assert len(posts) == len(attempts_of(courier.database, request_id)) == 10
    assert len({post.body for post in posts}) == len({post.headers["webhook-id"] for post in posts}) == 1


def test_during_a_rotation_both_secrets_sign(courier: Courier, request_id: UUID, receiver: Origin) -> None:
    receiver.on(HOOK, status(200))
    old = "whsec_" + "b2xk" * 8
    sql(
        courier.database,
        "UPDATE account SET previous_secret = %(old)s, previous_secret_until = now() + interval '1 h'",
        old=old,
    )
    attempt(courier, request_id)
    (post,) = receiver.posts(HOOK)
    new = sql(courier.database, "SELECT signing_secret FROM account")[0]["signing_secret"]
    for secret in (old, new):
        Webhook(secret).verify(post.body, dict(post.headers))
    assert len(post.headers["webhook-signature"].split()) == 2


def test_after_a_rotation_the_old_secret_signs_no_more(courier: Courier, request_id: UUID, receiver: Origin) -> None:
    receiver.on(HOOK, status(200))
    sql(courier.database, "UPDATE account SET previous_secret = 'whsec_b2xk', previous_secret_until = now()")
    attempt(courier, request_id)
    assert len(receiver.posts(HOOK)[0].headers["webhook-signature"].split()) == 1


def test_a_message_that_comes_twice_at_once_is_one_attempt(database: Database, request_id: UUID) -> None:
    delivery_id = delivery_of(database, request_id)["id"]
    claim = partial(_claim, delivery_id=delivery_id)
    first, second = overtaken(database, claim, claim)
    assert (first is not None, second) == (True, None)
    assert delivery_of(database, request_id)["attempt"] == 1


def test_an_attempt_that_never_reported_is_on_record_and_the_next_is_due_in_a_minute(
    courier: Courier, request_id: UUID, receiver: Origin
) -> None:
    receiver.on(HOOK, status(200))
    courier.database.transact(lambda session: _claim(session, delivery_of(courier.database, request_id)["id"]))
    assert 50 < attempt(courier, request_id)["due_in"] <= 60
    pass_time(courier.database, request_id, 61)
    assert attempt(courier, request_id)["status"] == "delivered"
    assert [row["error"] for row in attempts_of(courier.database, request_id)] == ["never reported", None]


class Gate:
    """A receiver that answers 200 only when it is let."""

    def __init__(self) -> None:
        self.open = Event()

    def __call__(self, exchange: Exchange) -> None:
        assert self.open.wait(10)
        status(200)(exchange)


def test_the_result_of_an_older_attempt_does_not_overwrite(
    courier: Courier, request_id: UUID, receiver: Origin
) -> None:
    gate = Gate()
    receiver.on(HOOK, gate, status(500))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(attempt, courier, request_id)
        until(lambda: receiver.hits(HOOK) == 1)
        pass_time(courier.database, request_id, 61)
        assert attempt(courier, request_id)["attempt"] == 2
        gate.open.set()
        slow.result(timeout=10)
    delivery = delivery_of(courier.database, request_id)
    assert (delivery["status"], delivery["attempt"]) == ("pending", 2)
    assert [row["status_code"] for row in attempts_of(courier.database, request_id)] == [200, 500]


def test_a_redelivery_that_was_asked_for_during_an_attempt_is_made(
    courier: Courier, request_id: UUID, receiver: Origin
) -> None:
    gate = Gate()
    receiver.on(HOOK, gate, status(200))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(attempt, courier, request_id)
        until(lambda: receiver.hits(HOOK) == 1)
        _redeliver(courier.database, request_id)
        gate.open.set()
        assert slow.result(timeout=10)["status"] == "pending"
    assert attempt(courier, request_id)["status"] == "delivered"
    assert receiver.hits(HOOK) == 2


def test_a_redelivery_has_the_same_id_and_a_schedule_of_its_own(
    courier: Courier, request_id: UUID, receiver: Origin
) -> None:
    receiver.on(HOOK, status(410), status(500))
    assert attempt(courier, request_id)["status"] == "stopped"
    _redeliver(courier.database, request_id)
    delivery = attempt(courier, request_id)
    assert (delivery["status"], delivery["attempt"]) == ("pending", 2)
    assert 4 < delivery["due_in"] <= 5.5
    assert len({post.headers["webhook-id"] for post in receiver.posts(HOOK)}) == 1


def test_a_delivery_of_a_deleted_request_is_nothing(courier: Courier, request_id: UUID, receiver: Origin) -> None:
    delivery_id = delivery_of(courier.database, request_id)["id"]
    sql(courier.database, "DELETE FROM processing_request")
    deliver(courier, delivery_id)
    assert receiver.hits(HOOK) == 0
    assert sql(courier.database, "SELECT 1 FROM delivery UNION ALL SELECT 1 FROM delivery_attempt") == []


def _redeliver(database: Database, request_id: UUID) -> None:
    delivery_id = delivery_of(database, request_id)["id"]
    database.transact(lambda session: redeliver(session, DEFAULT_ACCOUNT, delivery_id))
