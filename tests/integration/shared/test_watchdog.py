"""What the watchdog sees on real Valkey; that it ends its process, it shows on a process of its own."""

import subprocess
import sys
from collections.abc import Iterator
from typing import NoReturn

import dramatiq
import dramatiq.worker
import pytest

from shared.broker import Broker, connect
from shared.broker import watchdog as module
from shared.broker.watchdog import EXIT_CODE, Watchdog
from tests.integration.shared.consuming import (
    QUEUE,
    Actors,
    broker_of,
    consuming,
    counted_as_ours,
    send_some,
    waiting,
)
from tests.stack import ROOT, until


class EndedError(Exception):
    """In place of the end of this process."""


@pytest.fixture(autouse=True)
def ending(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(ailment: str) -> NoReturn:
        raise EndedError(ailment)

    monkeypatch.setattr(module, "_exit", end)


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer that is paused waits first as if it had failed."""
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0)


@pytest.fixture
def actors() -> Actors:
    return Actors()


@pytest.fixture
def broker(redis_url: str, actors: Actors) -> Broker:
    return broker_of(redis_url, actors)


@pytest.fixture
def worker(broker: Broker, actors: Actors) -> Iterator[dramatiq.Worker]:
    with consuming(broker, actors) as worker:
        yield worker


def test_a_dead_worker_thread_ends_the_process_and_says_why(redis_url: str, broker: Broker) -> None:
    command = [sys.executable, "-m", "tests.integration.shared.short_lived", redis_url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            send_some(broker, 1)
            written, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert (process.returncode, EXIT_CODE) == (70, 70)
    assert "watchdog_exit" in written
    assert "a worker thread died" in written


def test_a_dead_consumer_thread_is_the_end(broker: Broker, worker: dramatiq.Worker) -> None:
    watchdog = Watchdog(broker, worker)
    watchdog.check()
    worker.consumers[QUEUE].stop()
    worker.consumers[QUEUE].join(10)
    watchdog.check()
    with pytest.raises(EndedError, match="a consumer thread died"):
        watchdog.check()


def test_consumers_that_hang_while_redis_answers_are_the_end(
    broker: Broker, worker: dramatiq.Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.0)
    watchdog = Watchdog(broker, worker)
    worker.pause()
    watchdog.check()
    with pytest.raises(EndedError, match="no heartbeat"):
        watchdog.check()


def test_consumers_that_speak_again_before_the_next_check_are_not(broker: Broker, worker: dramatiq.Worker) -> None:
    """As after a SIGSTOP: for a moment nothing was heard for long."""
    watchdog = Watchdog(broker, worker)
    for _ in range(3):
        worker.pause()
        broker.heard_at = spoke_last = broker.heard_at - module.STALL_SECONDS - 1
        watchdog.check()
        worker.resume()
        until(lambda spoke_last=spoke_last: broker.heard_at > spoke_last + 1)  # type: ignore[misc]
        watchdog.check()


def test_silence_is_not_the_end_while_redis_is_away(
    broker: Broker, worker: dramatiq.Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.0)
    worker.pause()
    broker.probe = connect("redis://127.0.0.1:1").probe
    watchdog = Watchdog(broker, worker)
    for _ in range(3):
        watchdog.check()


def test_a_message_whose_fetch_got_no_reply_is_given_back_at_the_second_check(broker: Broker, actors: Actors) -> None:
    send_some(broker, 1)
    broker.do_fetch(QUEUE, 1)  # and its answer is lost
    with consuming(broker, actors) as worker:
        watchdog = Watchdog(broker, worker)
        watchdog.check()
        assert (counted_as_ours(broker), waiting(broker), actors.received) == (1, 0, [])
        watchdog.check()
        until(lambda: actors.received)


def test_a_message_in_hand_is_not_given_back(broker: Broker, worker: dramatiq.Worker, actors: Actors) -> None:
    send_some(broker, 3)
    until(lambda: len(actors.received) == 3)
    watchdog = Watchdog(broker, worker)
    for _ in range(3):
        watchdog.check()
    assert (counted_as_ours(broker), waiting(broker), len(actors.received)) == (3, 0, 3)
    actors.go_on.set()
    until(lambda: counted_as_ours(broker) == 0)
