"""The worker's settings."""

import os

from shared.settings import ConsumerSettings


class WorkerSettings(ConsumerSettings):
    """`threads` run messages (a quarter of them at most on slow hosts); `codec_processes` run the codec."""

    codec_processes: int = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    codec_memory_mb: int = 2000
    codec_seconds: int = 20
    max_source_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    max_frames: int = 500
    fetch_seconds: float = 30.0
    first_fetch_seconds: float = 5.0
    connect_seconds: float = 5.0
