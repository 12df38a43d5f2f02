"""A process that consumes as worker and notifier do, and whose worker thread ends with the first message it gets."""

import sys
import threading

import dramatiq.worker

from shared import log
from shared.broker import connect, receives
from shared.broker.consumer import run
from shared.broker.watchdog import Watchdog
from shared.db import Database
from shared.messages import Deliver
from shared.settings import ConsumerSettings

NOWHERE = "postgresql://halftone@127.0.0.1:1/halftone"


class Actors:
    @receives(Deliver)
    def deliver(self, message: Deliver) -> None:
        del message
        thread = threading.current_thread()
        assert isinstance(thread, dramatiq.worker.WorkerThread)
        thread.stop()


def main(redis_url: str) -> None:
    log.configure(level="info", style="text")
    Watchdog.seconds = 0.1
    settings = ConsumerSettings(database_url=NOWHERE, redis_url=redis_url, threads=2)
    run(connect(redis_url), Actors(), settings, database=Database(NOWHERE))


if __name__ == "__main__":
    main(sys.argv[1])
