"""The sweeper: a thread that repairs what a lost message or a dead process left behind, by the rules of rules.py."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Event, Thread
from typing import TypeVar
from uuid import UUID

from sqlmodel import Session

from services.notifier import metrics, rules
from services.notifier.periodic import Turn, each, play
from services.notifier.watch import Reconciler, reconcile_and_send
from shared.broker.epoch import EpochKey
from shared.ids import uuid7
from shared.messages import Deliver, DispatchRequest, Message

T = TypeVar("T")
TURN_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """What sweeping needs from its process."""

    reconciler: Reconciler
    epoch_key: EpochKey
    seconds: float
    stop: Event

    def start(self) -> Thread:
        """Sweep in a daemon thread until `stop` is set."""
        thread = Thread(target=self._run, name="sweeper", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        # At once: after a cold start Redis has no epoch, and nothing is under way yet to be sent again.
        while not self.stop.wait(0 if self.sweep() else self.seconds):
            pass

    def sweep(self) -> bool:
        """One round; True where there is more to do at once."""
        swept = Round(self.reconciler, self.epoch_key)
        moving = (
            swept.repair_wiped_broker,
            swept.expire_requests,
            swept.dispatch_requests,
            swept.reconcile_groups,
            swept.enqueue_due_deliveries,
            swept.measure,
        )
        return play(moving, seconds=TURN_SECONDS, stop=self.stop)


class Outgoing:
    """Sends until one message of the round could not be sent: each would cost a second, and the next round is soon."""

    def __init__(self, send: Callable[[Message], bool]) -> None:
        self._send = send
        self.works = True

    def __call__(self, message: Message) -> bool:
        self.works = self.works and self._send(message)
        return self.works


class Round:
    """The rules that move work on, each of them for one turn."""

    def __init__(self, reconciler: Reconciler, epoch_key: EpochKey) -> None:
        self._outgoing = Outgoing(reconciler.send)
        self._watcher = replace(reconciler, send=self._outgoing)
        self._database = reconciler.database
        self._epoch_key = epoch_key

    def repair_wiped_broker(self, _: Turn) -> int:
        """Redis has no epoch, or another than ours: it was wiped. Send everything again, then tell it the epoch."""
        known = self._epoch_key.read()
        self._outgoing.works = known is not None
        current = self._database.transact(rules.epoch)
        if known is None or known.epoch == current:
            return 0
        new = uuid7()
        moved = self._database.transact(lambda session: rules.begin_epoch(session, seen=current, new=new))
        if moved:
            self._epoch_key.write(new)
        return len(moved)

    def expire_requests(self, turn: Turn) -> int:
        return each(self._database, rules.expire_requests, lambda _: True, turn)

    def dispatch_requests(self, turn: Turn) -> int:
        return self._send_each(rules.requests_to_dispatch, lambda found: DispatchRequest(request_id=found), turn)

    def reconcile_groups(self, turn: Turn) -> int:
        """Also where nothing can be sent: what is done is settled all the same."""

        def look(found: tuple[UUID, int]) -> bool:
            reconcile_and_send(self._watcher, *found, dispatch_no=None)
            return True

        return each(self._database, rules.groups_to_reconcile, look, turn)

    def enqueue_due_deliveries(self, turn: Turn) -> int:
        return self._send_each(rules.deliveries_due, lambda found: Deliver(delivery_id=found), turn)

    def measure(self, _: Turn) -> int:
        """Last, so that it shows what the round left undone."""
        metrics.show(self._database.transact(metrics.measure))
        return 0

    def _send_each(self, find: Callable[[Session], list[UUID]], message: Callable[[UUID], Message], turn: Turn) -> int:
        """Rows are found for half a minute at least, so none are looked for while nothing can be sent."""
        if not self._outgoing.works:
            return 0
        return each(self._database, find, lambda found: self._outgoing(message(found)), turn)
