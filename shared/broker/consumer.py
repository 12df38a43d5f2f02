"""A process that consumes messages: one `dramatiq.Worker`, health endpoints, and an orderly end on SIGTERM.

Dramatiq's own command line forks, watches and retries in ways that this project does not want (ADR 0004).
"""

import signal
from collections.abc import Callable
from queue import Empty, PriorityQueue
from threading import Event, get_ident
from typing import Any

import dramatiq
from dramatiq.common import join_all

from shared.broker import health
from shared.broker.queues import BLOCK_SECONDS, Broker
from shared.broker.receivers import declare
from shared.broker.shares import Shares, owners, whole
from shared.broker.watchdog import Watchdog
from shared.db import Database
from shared.log import get_logger
from shared.settings import ConsumerSettings

log = get_logger(__name__)
HAND_BACK_MS = 1_500
CLOSED_SECONDS = 0.01
"""So that threads that have not yet been told to end do not spin on a closed queue."""


class WorkQueue(PriorityQueue[Any]):
    """Where consumers leave messages for the threads, which sleep here until there is one that they may work on.

    With `share`, the threads that a request may hold: by priority, then from the owners that hold least, then in
    order. A thread that asks for the next message has done with the one before, so whatever that made room for, it
    takes itself.
    """

    def __init__(self, share: int | None = None) -> None:
        super().__init__()
        self._closed = False
        self._shares = Shares(share) if share else None
        self._working: dict[int, tuple[str, ...]] = {}  # by thread

    def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002 - as in the base
        with self.not_empty:
            self._rest()
            while (item := self._best()) is None:
                if not block or not self.not_empty.wait(CLOSED_SECONDS if self._closed else timeout) or self._closed:
                    raise Empty
            return item

    def close(self) -> None:
        """Wake all threads, so that they see that they are to end."""
        with self.not_empty:
            self._closed = True
            self.not_empty.notify_all()

    def _rest(self) -> None:
        before = self._working.pop(get_ident(), ())
        if self._shares and before:
            self._shares.give_back(before)

    def _best(self) -> Any:
        """The next message for this thread; once the process stops, the rest is left to be given back."""
        if self._shares is None or self._closed:
            return self._get() if self._qsize() else None
        shares = self._shares
        ready = [(item, owned_by) for item in self.queue if shares.admits(owned_by := owners(item.message))]
        if not ready:
            return None
        item, owned_by = min(ready, key=lambda one: (one[0].priority, shares.load(one[1]), one[0]))
        self.queue = sorted(other for other in self.queue if other is not item)  # which is a heap
        self._working[get_ident()] = owned_by
        shares.take(owned_by)
        return item


class Worker(dramatiq.Worker):
    """Dramatiq's worker, whose threads sleep while there is nothing to do and yet end at once when it stops.

    With `share`, one request's batches hold so many threads, and the last thread is for what belongs to none.
    """

    broker: Broker

    def __init__(
        self, broker: Broker, *, threads: int, share: int | None = None, block_ms: int = int(BLOCK_SECONDS * 1000)
    ) -> None:
        super().__init__(broker, worker_threads=whole(share) + 1 if share else threads, worker_timeout=block_ms)
        self.work_queue = self._sleepers = WorkQueue(share)

    def stop(self, timeout: int = 600_000) -> None:
        self.broker.drain()
        self._sleepers.close()
        super().stop(timeout)


def run(
    broker: Broker,
    actors: object,
    settings: ConsumerSettings,
    *,
    database: Database,
    stop: Event | None = None,
    give_up: Callable[[], None] = lambda: None,
) -> None:
    """Consume until SIGTERM or SIGINT; then finish the messages under way and give back the others.

    Either signal sets `stop`, for other threads that end then. `give_up` is called where finishing takes longer than
    `shutdown_seconds`, so that the threads hand back their work.
    """
    stop = stop or Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    declare(broker, actors)
    worker = Worker(broker, threads=settings.threads, share=settings.threads if broker.shares else None)
    worker.start()
    health.serve(settings.health_host, settings.health_port, ready=lambda: _answers(database))
    log.info("ready", threads=settings.threads, queues=sorted(broker.get_declared_queues()))
    watchdog = Watchdog(broker, worker)
    while not stop.wait(watchdog.seconds):
        watchdog.check()
    log.info("stopping")
    worker.stop(timeout=int(settings.shutdown_seconds * 1000))
    if any(thread.is_alive() for thread in worker.workers):
        give_up()
        join_all(worker.workers, HAND_BACK_MS)  # type: ignore[no-untyped-call]
    log.info("stopped")


def _answers(database: Database) -> bool:
    try:
        database.ping()
    except Exception:  # noqa: BLE001 - after any error we are not ready
        return False
    return True
