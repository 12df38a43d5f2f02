"""Messages as the dispatch sends them, results as the worker reports them, and a post that keeps what is sent."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from services.worker.claim import claim
from services.worker.dispatch import Pipeline, dispatch_request
from services.worker.settle import Result, settle
from shared.db import Database
from shared.errors import HttpStatus
from shared.ids import uuid7
from shared.lifecycle import group_of
from shared.messages import (
    Batch,
    CompressBatch,
    CompressIsolatedBatch,
    FetchBatch,
    FetchIsolatedBatch,
    GroupDone,
    ImageRef,
)
from shared.recipe import Recipe
from tests.integration.seed import add_request

SOURCE_BYTES = 1000
RENDITION_BYTES = 400
NOT_FOUND = HttpStatus("images.example answered 404.", status=404)


class Post:
    """Takes groups in place of the broker; `works` says whether it does."""

    def __init__(self, *, works: bool = True) -> None:
        self.works = works
        self.groups: list[tuple[GroupDone, list[Pipeline]]] = []

    def __call__(self, pipelines: list[Pipeline], *, done: GroupDone) -> bool:
        if self.works:
            self.groups.append((done, pipelines))
        return self.works

    @property
    def batches(self) -> list[FetchBatch]:
        """The first halves of all pipelines, in the order sent."""
        return [fetch for _, pipelines in self.groups for fetch, _ in pipelines]


def fetch_of(
    request_id: UUID, numbers: Iterable[int], *, run: int = 1, base: str = "https://images.example"
) -> FetchBatch:
    """A batch with a claim of its own."""
    images = tuple(ImageRef(number=number, url=f"{base}/{number}.jpg") for number in numbers)
    return FetchBatch(
        request_id=request_id,
        group=group_of(images[0].number),
        dispatch_no=1,
        run=run,
        claim=uuid7(),
        recipe=Recipe(),
        images=images,
    )


def fetch_isolated(request_id: UUID, number: int) -> FetchIsolatedBatch:
    """A batch for an image whose worker died."""
    return FetchIsolatedBatch.model_validate(fetch_of(request_id, [number]).model_dump())


def compress_after(fetch: FetchBatch) -> CompressBatch:
    """The second half of its pipeline."""
    return (CompressIsolatedBatch if fetch.isolated else CompressBatch).after(fetch)


def take(database: Database, batch: Batch, numbers: Sequence[int]) -> dict[int, int]:
    """Claim in a transaction of its own; returns attempts by image number."""
    return database.run(lambda connection: claim(connection, batch, numbers))


def claimed_batch(database: Database, request_id: UUID, numbers: Sequence[int]) -> FetchBatch:
    """A new batch that has claimed its images."""
    batch = fetch_of(request_id, numbers)
    take(database, batch, numbers)
    return batch


def report(database: Database, batch: Batch, results: Sequence[Result]) -> int:
    """Settle in a transaction of its own; returns how many were written."""
    return database.run(lambda connection: settle(connection, batch, results))


def done(number: int, *, source_bytes: int = SOURCE_BYTES, rendition_bytes: int = RENDITION_BYTES) -> Result:
    """The image was compressed."""
    return Result(
        number=number,
        state="completed",
        source_bytes=source_bytes,
        source_format="jpeg",
        source_width=40,
        source_height=30,
        source_sha256="5" * 64,
        rendition_bytes=rendition_bytes,
        rendition_format="jpeg",
        rendition_width=40,
        rendition_height=30,
        rendition_sha256="a" * 64,
        rendition_quality=50,
        kept_original=False,
        fetch_ms=120,
    )


def numbers_of(batch: FetchBatch) -> list[int]:
    return [image.number for image in batch.images]


def dispatched(database: Database, *, images: int) -> tuple[UUID, Post]:
    """A new request, and the groups of it that were sent."""
    request_id, post = add_request(database, images=images), Post()
    dispatch_request(database, post, request_id)
    return request_id, post


def settle_all(database: Database, batches: list[FetchBatch]) -> None:
    for batch in batches:
        report(database, batch, [done(number) for number in numbers_of(batch)])
