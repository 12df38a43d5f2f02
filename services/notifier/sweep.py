"""The sweeper: a thread that repairs what a lost message or a dead process left behind, by the rules of rules.py."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from uuid import UUID

from prometheus_client import Counter

from services.notifier import rules
from services.notifier.settings import NotifierSettings
from services.notifier.watch import Watcher, look_and_send
from shared.blobs import Blobs
from shared.epoch import EpochKey
from shared.ids import parse_id, uuid7
from shared.log import get_logger
from shared.messages import Deliver, DispatchRequest

log = get_logger(__name__)
ACTED = Counter("halftone_sweeper_acted_total", "Rows on which a sweeper rule had to act.", ["rule"])
TEMPORARY_SECONDS = 3600.0
HOUSEKEEPING_SECONDS = 300.0
"""Between two rounds of the rules that only delete old files and rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeper:
    """What sweeping needs from its process."""

    watcher: Watcher
    blobs: Blobs
    epoch_key: EpochKey
    settings: NotifierSettings

    def start(self, stop: Event) -> Thread:
        """Sweep in a daemon thread until `stop` is set."""
        thread = Thread(target=self._run, args=(stop,), name="sweeper", daemon=True)
        thread.start()
        return thread

    def _run(self, stop: Event) -> None:
        housekeeping = time.monotonic()
        self.sweep()  # at once: after a cold start Redis has no epoch, and nothing is under way yet to be sent again
        while not stop.wait(self.settings.sweep_seconds):
            self.sweep()
            if time.monotonic() >= housekeeping:
                housekeeping = time.monotonic() + HOUSEKEEPING_SECONDS
                self.keep_house()

    def sweep(self) -> None:
        """One round of the rules that move work on."""
        for rule in (
            self._repair_wiped_broker,
            self._expire_requests,
            self._dispatch_requests,
            self._look_at_groups,
            self._nudge_deliveries,
        ):
            _guarded(rule)

    def keep_house(self) -> None:
        """One round of the rules that delete what is old."""
        for rule in (self._delete_sources, self._forget_requests, self._delete_orphans, self._delete_temporary):
            _guarded(rule)

    def _repair_wiped_broker(self) -> int:
        """Redis has no epoch, or another than ours: it was wiped. Send everything again, then tell it the epoch."""
        known = self.epoch_key.read()
        current = self.watcher.database.transact(rules.epoch)
        if known is None or known.epoch == current:
            return 0
        new = uuid7()
        moved = self.watcher.database.transact(lambda session: rules.begin_epoch(session, seen=current, new=new))
        if moved:
            self.epoch_key.write(new)
        return len(moved)

    def _expire_requests(self) -> int:
        return len(self.watcher.database.transact(rules.expire_requests))

    def _dispatch_requests(self) -> int:
        requests = self.watcher.database.transact(rules.requests_to_dispatch)
        for request_id in requests:
            self.watcher.send(DispatchRequest(request_id=request_id))
        return len(requests)

    def _look_at_groups(self) -> int:
        total = 0
        while groups := self.watcher.database.transact(rules.groups_to_look_at):
            for request_id, group in groups:
                look_and_send(self.watcher, request_id, group, dispatch_no=None)
            total += len(groups)
            if len(groups) < rules.MOST:
                break
        return total

    def _nudge_deliveries(self) -> int:
        deliveries = self.watcher.database.transact(rules.deliveries_due)
        for delivery_id in deliveries:
            self.watcher.send(Deliver(delivery_id=delivery_id))
        return len(deliveries)

    def _delete_sources(self) -> int:
        hours = self.settings.source_retention_hours
        finished = self.watcher.database.transact(lambda session: rules.sources_to_delete(session, hours=hours))
        for request_id in finished:
            self.blobs.delete_prefix(f"{request_id}/source")
        return len(finished)

    def _forget_requests(self) -> int:
        days = self.settings.retention_days
        if days is None:
            return 0
        old = self.watcher.database.transact(lambda session: rules.requests_to_forget(session, days=days))
        for request_id in old:
            self.blobs.delete_prefix(str(request_id))
        return len(old)

    def _delete_orphans(self) -> int:
        """Files whose request was deleted while a worker still wrote them."""
        before = datetime.now(UTC) - timedelta(hours=self.settings.orphan_hours)
        folders = {
            parse_id(folder.name): folder.name for folder in self.blobs.list_prefixes() if folder.modified_at < before
        }
        ids = [request_id for request_id in folders if isinstance(request_id, UUID)]
        orphans = self.watcher.database.transact(lambda session: rules.unknown(session, ids)) if ids else []
        for request_id in orphans:
            self.blobs.delete_prefix(str(request_id))
        return len(orphans)

    def _delete_temporary(self) -> int:
        """Files that a crash left half written."""
        return self.blobs.sweep_temporary(TEMPORARY_SECONDS)


def _guarded(rule: Callable[[], int]) -> None:
    """Run one rule; say so where it had to act. One that fails holds up no other and is tried again."""
    name = rule.__name__.strip("_")
    try:
        acted = rule()
    except Exception:
        log.exception("sweeper_rule_failed", rule=name)
        return
    if acted:
        ACTED.labels(name).inc(acted)
        log.info("swept", rule=name, rows=acted)
