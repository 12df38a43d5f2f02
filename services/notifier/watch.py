"""Look at a group and send what follows from it; what cannot be sent, the sweeper sends later."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from services.notifier.reconcile import reconcile
from shared.db import Database
from shared.messages import Deliver, DispatchRequest, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciler:
    """What looking needs from its process. `send` is best effort."""

    database: Database
    send: Callable[[Message], bool]
    public_url: str


def reconcile_and_send(reconciler: Reconciler, request_id: UUID, group: int, *, dispatch_no: int | None) -> None:
    """Look in one transaction, then send."""
    found = reconciler.database.transact(
        lambda session: reconcile(session, request_id, group, dispatch_no=dispatch_no, public_url=reconciler.public_url)
    )
    if found.dispatch:
        reconciler.send(found.dispatch)
    if found.fill_window:
        reconciler.send(DispatchRequest(request_id=request_id))
    if found.delivery:
        reconciler.send(Deliver(delivery_id=found.delivery))
