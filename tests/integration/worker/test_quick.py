"""The first images of a request: one message fetches and compresses a batch of them."""

from dataclasses import replace
from uuid import UUID

from services.worker.actors import Actors
from services.worker.compress import Compressor, keep_claims
from services.worker.fetch import Fetcher
from services.worker.fleet import Fleet
from shared.db import Database
from shared.messages import Fetched, QuickBatch
from tests.integration.batches import claimed_batch, fetch_of, take
from tests.integration.seed import group_row, image_rows, pass_time
from tests.integration.worker.conftest import BATCH, source_of
from tests.integration.worker.test_waiting_claims import Ticks
from tests.origin import Origin, body


def quick_of(request_id: UUID, origin: Origin) -> QuickBatch:
    for number in BATCH:
        origin.on(f"/{number}.jpg", body(source_of(number)))
    return QuickBatch.model_validate(fetch_of(request_id, BATCH, base=origin.url("")).model_dump())


def test_one_message_settles_the_batch(
    fetcher: Fetcher, compressor: Compressor, fleet: Fleet, request_id: UUID, origin: Origin
) -> None:
    actors = Actors(fetcher=fetcher, compressor=compressor, fleet=fleet)
    actors.quick_batch(quick_of(request_id, origin))
    assert group_row(fetcher.database, request_id)["completed"] == len(BATCH)


def test_it_needs_no_valkey(
    fetcher: Fetcher, compressor: Compressor, fleet: Fleet, request_id: UUID, origin: Origin
) -> None:
    compressor = replace(compressor, begun_before=lambda _: None)
    Actors(fetcher=fetcher, compressor=compressor, fleet=fleet).quick_batch(quick_of(request_id, origin))
    assert group_row(fetcher.database, request_id)["completed"] == len(BATCH)


def test_a_message_that_comes_again_since_its_worker_died_is_broken_up(
    fetcher: Fetcher, compressor: Compressor, fleet: Fleet, request_id: UUID, origin: Origin
) -> None:
    actors, quick = Actors(fetcher=fetcher, compressor=compressor, fleet=fleet), quick_of(request_id, origin)
    take(fetcher.database, quick, BATCH)
    actors.quick_batch(quick)
    rows = image_rows(fetcher.database, request_id).values()
    assert {(row["state"], row["claimed_by"], row["isolated"]) for row in rows} == {("pending", None, True)}


def test_claims_are_renewed_while_slow_codecs_work_on_it(database: Database, request_id: UUID) -> None:
    quick = QuickBatch.model_validate(claimed_batch(database, request_id, BATCH).model_dump())
    pass_time(database, request_id, 100)
    keep_claims(database, lambda: [(quick, Fetched())], Ticks(lambda: None), longest=60)
    assert all(row["due_in"] > 100 for row in image_rows(database, request_id).values())
