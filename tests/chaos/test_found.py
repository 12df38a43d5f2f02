"""What the runs have found, each as the small test that would have found it sooner."""

from collections.abc import Iterator

import pytest

from services.notifier import wiped_broker
from services.notifier.reconcile import reconcile
from shared.db import Database, execute
from shared.ids import uuid7

REQUEST = uuid7()


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """With a request of two groups: in the first one image is claimed and one waits for a retry; the second waits."""
    made = Database(database_url)
    for statement in (_REQUEST, _GROUPS, _IMAGES):
        made.transact(lambda session, statement=statement: execute(session, statement, {"id": REQUEST}))  # type: ignore[misc]
    yield made
    made.close()


def test_images_that_wait_for_a_retry_do_not_hold_up_the_groups_behind_them(database: Database) -> None:
    found = database.transact(
        lambda session: reconcile(session, REQUEST, 1, dispatch_no=1, public_url="http://shop.test")
    )
    assert found.fill_window


def test_a_wiped_broker_lets_claims_go_and_gives_their_attempts_back(database: Database) -> None:
    seen = database.transact(wiped_broker.epoch)
    assert database.transact(lambda session: wiped_broker.begin_epoch(session, seen=seen, new=uuid7()))
    while database.transact(wiped_broker.repair_batch):
        pass
    rows = database.transact(
        lambda session: execute(
            session, "SELECT attempts, claimed_by, not_before <= now() AS due FROM image ORDER BY number"
        )
    )
    assert rows == [
        {"attempts": 0, "claimed_by": None, "due": True},
        {"attempts": 1, "claimed_by": None, "due": False},
    ]


_REQUEST = """
INSERT INTO processing_request (id, account_id, status, products, images, open_groups, started_at, deadline_at)
SELECT %(id)s, id, 'processing', 1, 130, 2, now(), now() + interval '1 day' FROM account
"""
_GROUPS = """
INSERT INTO image_group (request_id, number, state, dispatch_no, images, reconcile_at)
VALUES (%(id)s, 1, 'dispatched', 1, 128, now() + interval '60 s'), (%(id)s, 2, 'waiting', 0, 2, NULL)
"""
_IMAGES = """
INSERT INTO image (request_id, number, url, attempts, claimed_by, not_before)
VALUES (%(id)s, 1, 'http://origin.test/1', 1, gen_random_uuid(), now() + interval '120 s'),
       (%(id)s, 2, 'http://origin.test/2', 1, NULL, now() + interval '15 s')
"""
