"""The worker's settings."""

import os

from pydantic import PositiveFloat, PositiveInt

from shared.settings import ConsumerSettings


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
    fetch_seconds: PositiveFloat = 30.0
    first_fetch_seconds: PositiveFloat = 5.0
    connect_seconds: PositiveFloat = 5.0
