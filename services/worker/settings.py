"""The worker's settings."""

import os
from typing import Annotated

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt

from services.worker.claim import CLAIM_SECONDS
from services.worker.politeness import HOST_FETCHES
from shared.broker.shares import whole
from shared.lifecycle import IMAGES_PER_BATCH
from shared.messages import (
    CompressBatch,
    CompressIsolatedBatch,
    FetchBatch,
    FetchIsolatedBatch,
    FetchSlowBatch,
    QuickBatch,
)
from shared.settings import ConsumerSettings

FetchSeconds = Annotated[PositiveFloat, Field(le=600)]


class FetchLimits(BaseModel):
    """A fetch has `first_fetch_seconds`; a slower one goes to the slow queue and has `fetch_seconds` there.

    `host_fetches`: at once from one host, by all workers together.
    """

    first_fetch_seconds: FetchSeconds = 5.0
    fetch_seconds: FetchSeconds = 30.0
    connect_seconds: FetchSeconds = 5.0
    max_source_bytes: PositiveInt = 20_000_000
    host_fetches: PositiveInt = HOST_FETCHES

    @property
    def claim_seconds(self) -> float:
        """Longer than the slowest visit to a host (ADR 16), with a minute and a half in which compressing begins."""
        return max(CLAIM_SECONDS, self.visit_seconds + 90)

    @property
    def visit_seconds(self) -> float:
        """A visit's last round may begin when `first_fetch_seconds` are nearly over."""
        return self.first_fetch_seconds + max(self.first_fetch_seconds, self.fetch_seconds)

    @property
    def deferred_seconds(self) -> float:
        """Time for a few batches that stand before it in the slow queue."""
        return max(CLAIM_SECONDS, self.fetch_seconds * 10)


class WorkerSettings(FetchLimits, ConsumerSettings):
    """`threads` run the messages of one request, twice as many those of all; `codec_processes` run the codec."""

    codec_processes: PositiveInt = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    )
    codec_memory_mb: PositiveInt = 2000
    codec_seconds: PositiveInt = 20
    max_pixels: PositiveInt = 50_000_000
    max_frames: PositiveInt = 500

    @property
    def shares(self) -> dict[str, int]:
        """How many messages of a queue one request has in hand at most (ADR 22).

        What is in hand may hold a thread. Hosts that are slow leave one thread for what waits for no host, and quick
        batches leave half of the threads to the others, however many small requests there are.
        """
        quarter = max(1, self.threads // 4)
        return {
            FetchBatch.queue: max(1, self.threads - quarter - 1),
            FetchSlowBatch.queue: quarter,
            QuickBatch.queue: max(1, self.threads // 2),
            CompressBatch.queue: 2 * self.threads,
        }

    @property
    def prefetch(self) -> dict[str, int]:
        """How many messages of a queue are in hand at most."""
        isolated = {FetchIsolatedBatch.queue: 1, CompressIsolatedBatch.queue: 1}
        return {queue: whole(share) for queue, share in self.shares.items()} | isolated

    @property
    def compress_seconds(self) -> float:
        """How long a batch may be in hand: one fetch, then the codec on all that is prefetched."""
        images = (self.prefetch[CompressBatch.queue] + self.prefetch[QuickBatch.queue]) * IMAGES_PER_BATCH
        return self.claim_seconds + images * self.codec_seconds / self.codec_processes
