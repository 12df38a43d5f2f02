"""The worker's settings."""

import os
from typing import Annotated

from pydantic import BaseModel, Field, PositiveFloat, PositiveInt

from services.worker.claim import CLAIM_SECONDS
from shared.lifecycle import IMAGES_PER_BATCH
from shared.settings import ConsumerSettings

FetchSeconds = Annotated[PositiveFloat, Field(le=600)]


class FetchLimits(BaseModel):
    """A fetch has `first_fetch_seconds`; a slower one goes to the slow queue and has `fetch_seconds` there."""

    first_fetch_seconds: FetchSeconds = 5.0
    fetch_seconds: FetchSeconds = 30.0
    connect_seconds: FetchSeconds = 5.0
    max_source_bytes: PositiveInt = 20_000_000

    @property
    def claim_seconds(self) -> float:
        """Longer than the slowest fetch, with a minute and a half in which compressing begins."""
        return max(CLAIM_SECONDS, self.first_fetch_seconds + 90, self.fetch_seconds + 90)

    @property
    def deferred_seconds(self) -> float:
        """Time for a few batches that stand before it in the slow queue."""
        return max(CLAIM_SECONDS, self.fetch_seconds * 10)


class WorkerSettings(FetchLimits, ConsumerSettings):
    """`threads` run messages (a quarter of them at most on slow hosts); `codec_processes` run the codec."""

    codec_processes: PositiveInt = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    )
    codec_memory_mb: PositiveInt = 2000
    codec_seconds: PositiveInt = 20
    max_pixels: PositiveInt = 50_000_000
    max_frames: PositiveInt = 500

    @property
    def compress_seconds(self) -> float:
        """How long a batch may be in hand: one fetch, then the codec on all that is prefetched (two per thread)."""
        images = 2 * self.threads * IMAGES_PER_BATCH
        return self.claim_seconds + images * self.codec_seconds / self.codec_processes
