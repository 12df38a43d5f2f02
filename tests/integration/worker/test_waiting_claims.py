"""Behind a slow codec a batch may wait for a thread longer than its claim lasts."""

import time
from collections.abc import Callable
from threading import Event, Thread
from uuid import UUID

import dramatiq
import pytest
from sqlmodel import Session

from services.worker import compress
from services.worker.compress import keep_claims
from services.worker.settings import WorkerSettings
from shared.broker import connect, declare, in_hand, receives
from shared.db import Database, execute
from shared.messages import CompressBatch, Fetched
from tests.integration.batches import claimed_batch, compress_after, take
from tests.integration.seed import add_request, image_rows, pass_time
from tests.integration.shared.consuming import consuming
from tests.integration.worker.conftest import BATCH, fetched
from tests.stack import until


class Actors:
    """Takes the claim over, and is as slow as a codec can be."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.begun: list[CompressBatch] = []
        self.go_on = Event()

    @receives(CompressBatch, piped=Fetched)
    def compress_batch(self, message: CompressBatch, fetched: Fetched) -> None:
        take(self.database, message, [image.number for image in fetched.images])
        self.begun.append(message)
        assert self.go_on.wait(20)


class Ticks(Event):
    """Stops after these steps, one for each time that it is waited for."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        super().__init__()
        self._steps = iter(steps)

    def wait(self, timeout: float | None = None) -> bool:
        del timeout
        step = next(self._steps, None)
        if step:
            step()
        return step is None


def test_claims_of_batches_that_wait_for_a_thread_are_renewed(
    database: Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compress, "RENEW_SECONDS", 0.02)
    request_id = add_request(database, images=17)
    spans = [range(1, 9), range(9, 17), [17]]
    batches = [claimed_batch(database, request_id, numbers) for numbers in spans]
    broker, actors, stop = connect(redis_url), Actors(database), Event()
    declare(broker, actors)
    for batch, numbers in zip(batches[:2], spans, strict=False):
        arguments = tuple(part.model_dump(mode="json") for part in (compress_after(batch), fetched(*numbers)))
        queue, actor = CompressBatch.queue, CompressBatch.actor
        broker.enqueue(dramatiq.Message(queue_name=queue, actor_name=actor, args=arguments, kwargs={}, options={}))

    def held() -> list[tuple[CompressBatch, Fetched]]:
        return in_hand(broker, CompressBatch, Fetched)

    with consuming(broker, actors, threads=1):
        until(lambda: len(held()) == 2 and len(actors.begun) == 1)
        pass_time(database, request_id, 100)
        Thread(target=keep_claims, args=(database, held, stop), kwargs={"longest": 60}, daemon=True).start()
        until(lambda: all(row["due_in"] > 100 for n, row in image_rows(database, request_id).items() if n < 17))
        assert image_rows(database, request_id)[17]["due_in"] < 20
        actors.go_on.set()
        until(lambda: not held())
        stop.set()


def test_a_batch_whose_thread_hangs_loses_its_claim_in_the_end(database: Database, request_id: UUID) -> None:
    batch = compress_after(claimed_batch(database, request_id, BATCH))
    left: list[float] = []

    def later() -> None:
        left.append(image_rows(database, request_id)[1]["due_in"])
        pass_time(database, request_id, 100)
        time.sleep(0.05)

    keep_claims(database, lambda: [(batch, fetched())], Ticks(later, later, later, later), longest=0.01)
    assert [seconds > 100 for seconds in left] == [True, True, False, False]


def test_a_claim_that_cannot_be_renewed_now_holds_up_no_other(database: Database) -> None:
    request_id = add_request(database, images=16)
    spans = [range(1, 9), range(9, 17)]
    held = [(compress_after(claimed_batch(database, request_id, span)), fetched(*span)) for span in spans]
    pass_time(database, request_id, 100)
    hasty = Database(database.engine.url.render_as_string(hide_password=False), statement_timeout_ms=1500)
    with Session(database.engine) as session, session.begin():
        execute(session, "SELECT 1 FROM image WHERE number = 1 FOR UPDATE")
        keep_claims(hasty, lambda: held, Ticks(lambda: None), longest=60)
    hasty.close()
    rows = image_rows(database, request_id)
    assert [rows[number]["due_in"] > 100 for number in (1, 9)] == [False, True]


def test_claims_are_kept_while_the_only_thread_waits_for_a_slow_host() -> None:
    settings = WorkerSettings(
        database_url="postgresql://db/halftone",
        redis_url="redis://redis",
        threads=1,
        codec_processes=8,
        fetch_seconds=600,
    )
    assert settings.compress_seconds > settings.fetch_seconds
