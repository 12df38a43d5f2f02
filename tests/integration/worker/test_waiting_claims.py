"""Behind a slow codec a batch may wait for a thread longer than its claim lasts."""

from threading import Event, Thread

import dramatiq
import pytest

from services.worker import compress
from services.worker.compress import keep_claims
from shared.broker import connect, declare, in_hand, receives
from shared.db import Database
from shared.messages import CompressBatch, Fetched, FetchedImage
from tests.integration.batches import compress_after, fetch_of, take
from tests.integration.seed import add_request, image_rows, pass_time
from tests.stack import until


class Actors:
    """As slow as a codec can be."""

    def __init__(self) -> None:
        self.begun: list[CompressBatch] = []
        self.go_on = Event()

    @receives(CompressBatch, piped=Fetched)
    def compress_batch(self, message: CompressBatch, fetched: Fetched) -> None:
        self.begun.append(message)
        assert self.go_on.wait(20)


def test_claims_of_batches_that_wait_for_a_thread_are_renewed(
    database: Database, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compress, "RENEW_SECONDS", 0.02)
    request_id = add_request(database, images=17)
    batches = [fetch_of(request_id, range(first, first + 8)) for first in (1, 9)]
    lost = fetch_of(request_id, [17])
    for batch in (*batches, lost):
        take(database, batch, [image.number for image in batch.images])
    broker, actors, stop = connect(redis_url), Actors(), Event()
    declare(broker, actors)
    for batch in batches:
        images = tuple(FetchedImage(number=image.number, bytes=1, sha256="a" * 64) for image in batch.images)
        parts = compress_after(batch), Fetched(images=images)
        arguments = tuple(part.model_dump(mode="json") for part in parts)
        broker.enqueue(
            dramatiq.Message(
                queue_name=CompressBatch.queue, actor_name=CompressBatch.actor, args=arguments, kwargs={}, options={}
            )
        )
    pass_time(database, request_id, 100)

    def held() -> list[tuple[CompressBatch, Fetched]]:
        return in_hand(broker, CompressBatch, Fetched)

    worker = dramatiq.Worker(broker, worker_threads=1, worker_timeout=20)
    worker.start()
    Thread(target=keep_claims, args=(database, held, stop), daemon=True).start()
    try:
        until(lambda: len(held()) == 2 and len(actors.begun) == 1)
        until(lambda: all(row["due_in"] > 100 for n, row in image_rows(database, request_id).items() if n < 17))
        assert image_rows(database, request_id)[17]["due_in"] < 20
        actors.go_on.set()
        until(lambda: not held())
    finally:
        actors.go_on.set()
        stop.set()
        worker.stop()
        broker.close()
        broker.client.close()
