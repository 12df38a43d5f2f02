"""Consumers on real Valkey: how many messages they hold after an error, and what the watchdog sees."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NoReturn
from uuid import uuid4

import dramatiq
import dramatiq.worker
import pytest

from shared.broker import Broker, connect, declare, queues, receives, send
from shared.broker import watchdog as module
from shared.broker.watchdog import EXIT_CODE, Watchdog
from shared.messages import Deliver
from tests.integration.shared.consuming import Holding, consuming
from tests.stack import ROOT, until

QUEUE = Deliver.queue


class Actors(Holding):
    @receives(Deliver)
    def deliver(self, message: Deliver) -> None:
        self.hold(message)


class EndedError(Exception):
    """In place of the end of this process."""


@pytest.fixture(autouse=True)
def ending(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(ailment: str) -> NoReturn:
        raise EndedError(ailment)

    monkeypatch.setattr(module, "_exit", end)


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error, and after a pause too."""
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0)


@pytest.fixture
def actors() -> Actors:
    return Actors()


@pytest.fixture
def broker(redis_url: str, actors: Actors) -> Broker:
    """Commands are not tried again: an error of Valkey is one of the consumer."""
    broker = connect(redis_url, retries=0)
    declare(broker, actors)
    return broker


@pytest.fixture
def worker(broker: Broker, actors: Actors) -> Iterator[dramatiq.Worker]:
    with consuming(broker, actors) as worker:
        yield worker


def send_some(broker: Broker, count: int) -> None:
    for _ in range(count):
        assert send(broker, Deliver(delivery_id=uuid4()))


def held_and_waiting(broker: Broker) -> tuple[int, int]:
    """How many messages Valkey counts as ours, and how many wait for a consumer."""
    client: Any = broker.client
    return client.llen(broker.taken), client.llen(queues.QUEUE + QUEUE)


def test_a_new_consumer_takes_no_more_than_the_limit_leaves(
    broker: Broker, actors: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.prefetch[QUEUE] = 3
    with consuming(broker, actors) as worker:
        thread = worker.consumers[QUEUE]
        send_some(broker, 2)
        until(lambda: len(actors.received) == 2)
        first = thread.consumer
        broker.client.replicaof("127.0.0.1", "1")  # refuses to be written
        try:
            until(lambda: thread.consumer is not first)
        finally:
            broker.client.replicaof("NO", "ONE")
        send_some(broker, 5)
        until(lambda: len(actors.received) > 2)
        spoke_last = broker.heard_at
        until(lambda: broker.heard_at > spoke_last + 0.1)  # it has asked for all that it may have
        assert held_and_waiting(broker) == (3, 4)
        actors.go_on.set()
        until(lambda: len(actors.received) == 7)


def test_messages_without_a_receiver_take_nothing_from_the_limit(broker: Broker, actors: Actors) -> None:
    """As while a newer service sends what this one does not know yet."""
    broker.prefetch[QUEUE] = 1
    with consuming(broker, actors):
        for _ in range(2):
            broker.enqueue(dramatiq.Message(queue_name=QUEUE, actor_name="unknown", args=(), kwargs={}, options={}))
        send_some(broker, 1)
        until(lambda: actors.received)


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
    broker.client.lmove(queues.QUEUE + QUEUE, broker.taken)  # and the answer is lost
    with consuming(broker, actors) as worker:
        watchdog = Watchdog(broker, worker)
        watchdog.check()
        assert (held_and_waiting(broker), actors.received) == ((1, 0), [])
        watchdog.check()
        until(lambda: actors.received)


def test_a_stray_that_cannot_be_read_is_removed_and_the_others_are_given_back(broker: Broker, actors: Actors) -> None:
    send_some(broker, 1)
    broker.client.lmove(queues.QUEUE + QUEUE, broker.taken)
    broker.client.rpush(broker.taken, b"{", b"[]", b"no JSON")
    with consuming(broker, actors) as worker:
        watchdog = Watchdog(broker, worker)
        watchdog.check()
        watchdog.check()
        until(lambda: actors.received)
        assert held_and_waiting(broker) == (1, 0)


def test_a_message_in_hand_is_not_given_back(broker: Broker, worker: dramatiq.Worker, actors: Actors) -> None:
    send_some(broker, 3)
    until(lambda: len(actors.received) == 3)
    watchdog = Watchdog(broker, worker)
    for _ in range(3):
        watchdog.check()
    assert (held_and_waiting(broker), len(actors.received)) == ((3, 0), 3)
    actors.go_on.set()
    until(lambda: held_and_waiting(broker) == (0, 0))
