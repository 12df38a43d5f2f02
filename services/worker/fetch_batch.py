"""Fetch a batch (step 5): claim its images, fetch them, settle what failed, hand on what came."""

import random
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from services.worker.backoff import retry_delay
from services.worker.claim import claim, defer, release
from services.worker.dispatch import SendGroup
from services.worker.fetch import FetchLimits, FetchResults, fetch_images
from services.worker.settle import Result, due_again, failed, settle
from services.worker.unstored import done_again
from shared.blobs import Blobs
from shared.db import Database
from shared.egress import Egress
from shared.ids import uuid7
from shared.messages import CompressBatch, CompressIsolatedBatch, FetchBatch, Fetched, FetchSlowBatch, GroupDone


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """What fetching needs from its process."""

    database: Database
    egress: Egress
    blobs: Blobs
    threads: ThreadPoolExecutor
    limits: FetchLimits
    send_group: SendGroup
    stopping: Future[None] = field(default_factory=Future)

    def give_up(self) -> None:
        """The worker is stopping: whoever waits for an image hands it back."""
        self.stopping.set_result(None)


def fetch_batch(fetcher: Fetcher, batch: FetchBatch) -> Fetched:
    """Fetch what the claim gave; the answer holds the sources that are in the blob store now (none is fine)."""
    numbers = [image.number for image in batch.images]
    attempts = fetcher.database.transact(lambda session: claim(session, batch, numbers))
    if not attempts:
        return Fetched()
    results = fetch_images(
        [image for image in batch.images if image.number in attempts],
        request_id=batch.request_id,
        egress=fetcher.egress,
        blobs=fetcher.blobs,
        pool=fetcher.threads,
        stopping=fetcher.stopping,
        slow=isinstance(batch, FetchSlowBatch),
        limits=fetcher.limits,
    )
    outcomes = _outcomes(results, attempts) + done_again(batch, results.unstored)
    if outcomes:
        fetcher.database.transact(lambda session: settle(session, batch, outcomes))
    if results.slow:
        _send_slow(fetcher, batch, results.slow)
    return Fetched(images=tuple(results.fetched))


def _outcomes(results: FetchResults, attempts: dict[int, int]) -> list[Result]:
    outcomes = [due_again(number, delay=0, refund=True) for number in results.unfinished]
    for number, error in results.failed:
        delay = retry_delay(error, attempts=attempts[number], random=random.random)
        outcomes.append(failed(number, error) if delay is None else due_again(number, delay=delay, error=error))
    return outcomes


def _send_slow(fetcher: Fetcher, batch: FetchBatch, slow: list[int]) -> None:
    """Send the images of slow hosts as a group of their own, so that they hold up nobody else."""
    ours = fetcher.database.transact(lambda session: defer(session, batch, slow))
    if not ours:
        return
    images = tuple(image for image in batch.images if image.number in ours)
    done = GroupDone(request_id=batch.request_id, group=batch.group, dispatch_no=batch.dispatch_no)
    common = done.model_dump() | {"run": batch.run, "recipe": batch.recipe}
    fetch = FetchSlowBatch.model_validate(common | {"claim": uuid7(), "takes_over": batch.claim, "images": images})
    compress_class = CompressIsolatedBatch if batch.isolated else CompressBatch
    compress = compress_class.model_validate(common | {"claim": uuid7(), "takes_over": fetch.claim})
    if not fetcher.send_group([(fetch, compress)], done=done):
        fetcher.database.transact(lambda session: release(session, batch, ours))
