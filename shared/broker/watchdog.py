"""The watchdog: ends a process whose threads or heartbeat died, so that its supervisor starts a new one.

It also gives back messages that Redis counts as ours although we do not have them; see `Broker.strays`.
"""

import os
import time
from typing import NoReturn

import dramatiq
import redis
from dramatiq.errors import DecodeError

from shared.broker.queues import Broker
from shared.log import get_logger

log = get_logger(__name__)
STALL_SECONDS = 60.0
"""Without an answer to any consumer although Redis answers a ping: the consumers hang."""
EXIT_CODE = 70  # EX_SOFTWARE


class Watchdog:
    """`check` every few seconds. Two bad checks in a row end the process: one may be the echo of a SIGSTOP."""

    seconds = 5.0

    def __init__(self, broker: Broker, worker: dramatiq.Worker) -> None:
        self._broker = broker
        self._worker = worker
        self._ailing: str | None = None
        self._strays: set[bytes] = set()

    def check(self) -> None:
        """Check threads and heartbeat, then look for strays."""
        ailment = self._ailment()
        if ailment and self._ailing:
            _exit(ailment)
        self._ailing = ailment
        try:
            self._give_back_strays()
        except (redis.RedisError, OSError):
            self._strays.clear()

    def _ailment(self) -> str | None:
        if not all(thread.is_alive() for thread in self._worker.workers):
            return "a worker thread died"
        if not all(thread.is_alive() for thread in self._worker.consumers.values()):
            return "a consumer thread died"
        if time.monotonic() - self._broker.heard_at > STALL_SECONDS and self._redis_answers():
            return "no heartbeat was sent although Redis answers"
        return None

    def _redis_answers(self) -> bool:
        try:
            return bool(self._broker.probe.ping())
        except (redis.RedisError, OSError):
            return False

    def _give_back_strays(self) -> None:
        """A message that was astray at the last check too is not on its way: it is lost."""
        strays = self._broker.strays()
        lost = strays & self._strays
        if lost:
            log.warning("messages_astray", messages=len(lost))
        for message in lost:
            try:
                self._broker.give_back(message)
            except DecodeError:  # it has no queue
                log.exception("message_unreadable")
                self._broker.client.lrem(self._broker.taken, 1, message)  # type: ignore[arg-type]
        self._strays = strays - lost


def _exit(ailment: str) -> NoReturn:
    log.critical("watchdog_exit", reason=ailment)
    os._exit(EXIT_CODE)  # the threads are beyond joining
