"""A reconciler that keeps what it would send, and requests whose images are all done."""

from uuid import UUID

import pytest

from services.notifier.watch import Reconciler, reconcile_and_send
from services.worker.dispatch import dispatch_request
from shared.db import Database
from shared.messages import Message
from tests.integration.batches import Post, done, report
from tests.integration.seed import add_request

PUBLIC_URL = "https://shop.example"
HOOK = f"{PUBLIC_URL}/hook"


@pytest.fixture
def sent() -> list[Message]:
    """What the notifier sent, in order."""
    return []


@pytest.fixture
def reconciler(database: Database, sent: list[Message]) -> Reconciler:
    def send(message: Message) -> bool:
        sent.append(message)
        return True

    return Reconciler(database=database, send=send, public_url=PUBLIC_URL)


def reported(database: Database, *, webhook_url: str | None = None) -> UUID:
    """A request whose one group waits to be looked at."""
    request_id = add_request(database, images=1, webhook_url=webhook_url)
    post = Post()
    dispatch_request(database, post, request_id)
    report(database, post.batches[0], [done(1)])
    return request_id


def finished(database: Database, reconciler: Reconciler, webhook_url: str | None = HOOK) -> UUID:
    """A finished request whose delivery is due; None: without one."""
    request_id = reported(database, webhook_url=webhook_url)
    reconcile_and_send(reconciler, request_id, 1, dispatch_no=1)
    return request_id
