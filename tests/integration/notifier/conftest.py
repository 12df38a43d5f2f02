"""A watcher that keeps what it would send."""

import pytest

from services.notifier.watch import Watcher
from shared.db import Database
from shared.messages import Message

PUBLIC_URL = "https://shop.example"


@pytest.fixture
def sent() -> list[Message]:
    """What the notifier sent, in order."""
    return []


@pytest.fixture
def watcher(database: Database, sent: list[Message]) -> Watcher:
    def send(message: Message) -> bool:
        sent.append(message)
        return True

    return Watcher(database=database, send=send, public_url=PUBLIC_URL)
