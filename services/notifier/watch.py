"""Look at a group and send what follows from it; what cannot be sent, the sweeper sends later."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from services.notifier.look import look
from shared.db import Database
from shared.messages import Deliver, DispatchRequest, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """What looking needs from its process. `send` is best effort."""

    database: Database
    send: Callable[[Message], bool]
    public_url: str


def look_and_send(watcher: Watcher, request_id: UUID, group: int, *, dispatch_no: int | None) -> None:
    """Look in one transaction, then send."""
    found = watcher.database.transact(
        lambda session: look(session, request_id, group, dispatch_no=dispatch_no, public_url=watcher.public_url)
    )
    if found.dispatch:
        watcher.send(found.dispatch)
    if found.fill_window:
        watcher.send(DispatchRequest(request_id=request_id))
    if found.delivery:
        watcher.send(Deliver(delivery_id=found.delivery))
