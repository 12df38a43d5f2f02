"""A process that consumes messages: one `dramatiq.Worker`, health endpoints, and an orderly end on SIGTERM.

Dramatiq's own command line forks, watches and retries in ways that this project does not want (ADR 0004).
"""

import signal
from collections.abc import Callable
from threading import Event

import dramatiq
from dramatiq.common import join_all

from shared.broker import health
from shared.broker.connection import Broker
from shared.broker.receivers import declare
from shared.broker.watchdog import Watchdog
from shared.db import Database
from shared.log import get_logger
from shared.settings import ConsumerSettings

log = get_logger(__name__)
HAND_BACK_MS = 1_500
POLL_MS = 250
"""How long an idle consumer waits before it asks Redis again."""


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
    worker = dramatiq.Worker(broker, worker_threads=settings.threads, worker_timeout=POLL_MS)
    worker.start()
    server = health.serve(settings.health_host, settings.health_port, ready=lambda: _answers(database))
    log.info("ready", threads=settings.threads, queues=sorted(broker.get_declared_queues()))
    watchdog = Watchdog(broker, worker)
    while not stop.wait(watchdog.seconds):
        watchdog.check()
    log.info("stopping")
    worker.stop(timeout=int(settings.shutdown_seconds * 1000))
    if any(thread.is_alive() for thread in worker.workers):
        give_up()
        join_all(worker.workers, HAND_BACK_MS)  # type: ignore[no-untyped-call]
    if server:
        server.shutdown()
    log.info("stopped")


def _answers(database: Database) -> bool:
    try:
        database.ping()
    except Exception:  # noqa: BLE001 - after any error we are not ready
        return False
    return True
