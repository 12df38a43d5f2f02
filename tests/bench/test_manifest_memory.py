"""A manifest of a million images, through the real service: how long it takes and how much memory it needs."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import psutil
import pytest

from tests.serving import ingest_process
from tests.stack import Stack

IMAGES = 1_000_000
MAX_RSS_MB = 300
MAX_CPU_SECONDS = 60


@pytest.mark.bench
@pytest.mark.parametrize("urls_per_row", [1, 10])
def test_a_million_images_are_accepted_in_flat_memory(
    database_url: str, servers: Stack, tmp_path: Path, urls_per_row: int
) -> None:
    env = {"DATABASE_URL": database_url, "REDIS_URL": servers.redis_url, "BLOB_URL": (tmp_path / "blobs").as_uri()}
    with manifest(urls_per_row) as file, ingest_process(env) as (address, pid):
        idle, process = peak_rss_mb(pid), psutil.Process(pid)
        size, begun = file.seek(0, os.SEEK_END), time.monotonic()
        file.seek(0)
        answer = httpx.post(f"{address}/v1/requests", files={"file": ("a.csv", file)}, timeout=300)
        seconds, cpu_seconds, peak = time.monotonic() - begun, sum(process.cpu_times()[:2]), peak_rss_mb(pid)
    print(
        f"\n{IMAGES} images, {urls_per_row} a row, {size >> 20} MB: {seconds:.1f} s ({cpu_seconds:.1f} s of CPU), "
        f"peak {peak} MB (idle {idle} MB)"
    )
    assert answer.status_code == 202
    assert answer.json()["images"]["total"] == IMAGES
    assert peak < MAX_RSS_MB
    assert cpu_seconds < MAX_CPU_SECONDS


@contextmanager
def manifest(urls_per_row: int) -> Iterator[IO[bytes]]:
    with tempfile.TemporaryFile() as file:
        file.write(b"S. No.,Product Name,Input Image Urls\n")
        for row in range(IMAGES // urls_per_row):
            numbers = range(row * urls_per_row, (row + 1) * urls_per_row)
            urls = ",".join(f"https://cdn.example.com/images/front-{number * 7919}.jpg" for number in numbers)
            file.write(f'{row},Product {row},"{urls}"\n'.encode())
        yield file


def peak_rss_mb(pid: int) -> int:
    """The highest resident size the process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) >> 10
