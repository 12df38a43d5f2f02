"""The limit: Pillow alone, one process for each core, files in memory, the same settings, the results thrown away."""

import io
import os
import struct
import time
from collections.abc import Sequence
from typing import Any

from PIL import Image

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
KEPT_BLOCKS = 8
"""Pillow frees its memory after each picture; with some kept, as our codec's children have it, it is faster."""
MOST = 60_000  # images of a run: one byte each fits into a pipe
REPORT = struct.Struct("d")


def limit(bodies: Sequence[bytes], options: dict[str, Any], images: int, *, kept_blocks: int) -> tuple[float, float]:
    """Images a second, and CPU milliseconds of one image.

    The processes are plain forks that take one byte of a pipe for each image: with multiprocessing, a child hung
    once Celery had been imported (why was not found out).
    """
    assert images <= MOST
    (work, give), (reports, report) = os.pipe(), os.pipe()
    pids = [_fork(bodies, options, kept_blocks, work, give, report) for _ in range(CORES)]
    os.close(report)  # so that a dead child is the end of its reports, and not a pause
    for _ in pids:
        REPORT.unpack(os.read(reports, REPORT.size))  # it is ready
    begun = time.monotonic()
    os.write(give, bytes(images))
    os.close(give)
    cpu = sum(REPORT.unpack(os.read(reports, REPORT.size))[0] for _ in pids)
    seconds = time.monotonic() - begun
    for pid in pids:
        os.waitpid(pid, 0)
    for end in (work, reports):
        os.close(end)
    return images / seconds, cpu * 1000 / images


def _fork(bodies: Sequence[bytes], options: dict[str, Any], kept_blocks: int, work: int, give: int, report: int) -> int:
    if pid := os.fork():
        return pid
    try:
        os.close(give)
        Image.core.set_blocks_max(kept_blocks)  # type: ignore[attr-defined]
        compress(bodies[0], options)  # loads the plugins
        os.write(report, REPORT.pack(0))
        before, number = time.process_time(), os.getpid()
        while os.read(work, 1):
            compress(bodies[number % len(bodies)], options)
            number += 1
        os.write(report, REPORT.pack(time.process_time() - before))
    finally:
        os._exit(0)


def compress(body: bytes, options: dict[str, Any]) -> int:
    """Decode and encode, nothing else; the size of the result."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(body)) as picture:
        picture.save(out, **options)
    return out.tell()
