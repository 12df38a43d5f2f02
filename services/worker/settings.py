"""The worker's settings."""

import os
from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt

from shared.settings import ConsumerSettings

FetchSeconds = Annotated[PositiveFloat, Field(le=600)]


class WorkerSettings(ConsumerSettings):
    """`threads` run messages (a quarter of them at most on slow hosts); `codec_processes` run the codec."""

    codec_processes: PositiveInt = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    )
    codec_memory_mb: PositiveInt = 2000
    codec_seconds: PositiveInt = 20
    max_source_bytes: PositiveInt = 20_000_000
    max_pixels: PositiveInt = 50_000_000
    max_frames: PositiveInt = 500
    fetch_seconds: FetchSeconds = 30.0
    first_fetch_seconds: FetchSeconds = 5.0
    connect_seconds: FetchSeconds = 5.0
