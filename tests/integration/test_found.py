"""The bugs that chaos runs have found, each as the small test that would have found it sooner."""

from uuid import UUID

import pytest

from services.notifier import wiped_broker
from services.notifier.reconcile import reconcile
from shared.db import Database
from shared.ids import uuid7
from shared.lifecycle import IMAGES_PER_GROUP
from tests.integration.seed import add_request, image_rows, sql


@pytest.fixture
def request_id(database: Database) -> UUID:
    """In the first of two groups, one image is claimed and the others wait for a retry; the second group waits."""
    made = add_request(database, images=IMAGES_PER_GROUP + 2)
    for statement in (
        "UPDATE processing_request SET status = 'processing', started_at = now() WHERE id = %(id)s",
        """
        UPDATE image_group SET state = 'dispatched', dispatch_no = 1, reconcile_at = now() + interval '60 s'
        WHERE request_id = %(id)s AND number = 1
        """,
        """
        UPDATE image SET attempts = 1, not_before = now() + interval '15 s'
        WHERE request_id = %(id)s AND number <= %(size)s
        """,
        "UPDATE image SET claimed_by = gen_random_uuid() WHERE request_id = %(id)s AND number = 1",
    ):
        sql(database, statement, id=made, size=IMAGES_PER_GROUP)
    return made


def test_images_that_wait_for_a_retry_do_not_hold_up_the_groups_behind_them(
    database: Database, request_id: UUID
) -> None:
    found = database.transact(lambda session: reconcile(session, request_id, 1, dispatch_no=1, public_url=""))
    assert found.fill_window


def test_a_wiped_broker_releases_claims_and_gives_their_attempts_back(database: Database, request_id: UUID) -> None:
    seen = database.transact(wiped_broker.epoch)
    assert database.transact(lambda session: wiped_broker.begin_epoch(session, seen=seen, new=uuid7()))
    while database.transact(wiped_broker.repair_batch):
        pass
    claimed, waiting = (image_rows(database, request_id)[number] for number in (1, 2))
    assert (claimed["attempts"], claimed["claimed_by"], claimed["due_in"] <= 0) == (0, None, True)
    assert (waiting["attempts"], waiting["claimed_by"], waiting["due_in"] <= 0) == (1, None, False)
