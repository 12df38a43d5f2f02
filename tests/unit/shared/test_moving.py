"""Moving blobs from a folder to a bucket while both are in use."""

import os
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Self
from uuid import uuid4

import pytest

from shared.blobs import BlobMissing, Blobs, connect, output_key
from shared.blobs.copy import copy_all
from shared.blobs.moving import MovingBlobs
from shared.blobs.store import STORE_ID
from tests.bucket import BUCKET, Bucket, Fault
from tests.stack import ROOT

PICTURES = 3
REQUESTS = 40


@pytest.fixture
def disk(tmp_path: Path) -> Blobs:
    return connect((tmp_path / "blobs").as_uri())


class Load:
    """Stores, reads and deletes requests in threads until it is stopped; `live` are those that must be there."""

    def __init__(self, stores: list[Blobs]) -> None:
        self.stores = stores
        self.live = dict[str, dict[str, bytes]]()
        self.deleted = set[str]()
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def store(self, blobs: Blobs) -> None:
        request_id = uuid4()
        files = {output_key(request_id, f"{number:064x}", "jpg"): os.urandom(50) for number in range(PICTURES)}
        with blobs.batch() as put:
            for key, data in files.items():
                put(key, data)
        with self._lock:
            self.live[str(request_id)] = files

    def __enter__(self) -> Self:
        self._threads = ThreadPoolExecutor(3)
        self._running = [self._threads.submit(self._run) for _ in range(3)]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for running in self._running:
            running.result()
        self._threads.shutdown()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.store(random.choice(self.stores))
            with self._lock:
                request_id = random.choice(list(self.live))
                files = self.live.pop(request_id)
            for key, data in files.items():
                assert random.choice(self.stores).get(key) == data
            if random.random() < 0.5:
                random.choice(self.stores).delete_prefix(request_id)
                self.deleted.add(request_id)
            else:
                with self._lock:
                    self.live[request_id] = files


def test_blobs_move_under_load_and_none_is_lost_or_outlives_its_request(bucket: Bucket, disk: Blobs) -> None:
    inner = bucket.connect()
    reading, writing = MovingBlobs(disk, inner), MovingBlobs(inner, disk)
    load = Load([disk])
    disk.put(STORE_ID, b"ours")
    for _ in range(REQUESTS):
        load.store(disk)
    load.stores = [reading, writing]  # services are restarted one by one with the stores in the other order
    with load:
        bucket_has(inner, 5)
    load.stores = [writing]
    with load:
        list(islice(copy_all(disk, inner), 5))  # broken off
        *_, tally = copy_all(disk, inner)
    assert tally.failed == 0
    assert load.deleted
    *_, again = copy_all(disk, inner)
    assert (again.copied, again.failed) == (0, 0)
    assert inner.get(STORE_ID) == b"ours"
    assert set(inner.folders()) == set(load.live)
    assert all(inner.get(key) == data for files in load.live.values() for key, data in files.items())


def bucket_has(blobs: Blobs, folders: int) -> None:
    while len(list(blobs.folders())) < folders:
        pass


def test_what_is_deleted_while_it_is_copied_does_not_come_back(bucket: Bucket, disk: Blobs) -> None:
    inner, key = bucket.connect(), output_key(uuid4(), "a" * 64, "jpg")
    disk.put(key, b"rendition")

    class Deleting(Source):
        def get(self, key: str) -> bytes:
            found = super().get(key)
            MovingBlobs(inner, disk).delete_prefix(key.partition("/")[0])
            return found

    *_, tally = copy_all(Deleting(disk), inner)
    assert (tally.copied, tally.gone) == (0, 2)  # and there was no id
    with pytest.raises(BlobMissing):
        inner.get(key)


def test_a_deletion_begins_where_is_copied_from(bucket: Bucket, disk: Blobs) -> None:
    """The other way round a copy could be put between the two, and its second look would still find the source."""
    inner, request_id = bucket.connect(), uuid4()
    key = output_key(request_id, "a" * 64, "jpg")

    class Copying(Source):
        def delete_prefix(self, prefix: str) -> None:
            super().delete_prefix(prefix)
            list(copy_all(disk, inner))

        def delete(self, key: str) -> None:
            super().delete(key)
            list(copy_all(disk, inner))

    both = MovingBlobs(Copying(inner), Copying(disk))
    for delete, what in ((both.delete, key), (both.delete_prefix, str(request_id))):
        disk.put(key, b"rendition")
        inner.put(key, b"rendition")
        delete(what)
        assert (inner.exists(key), disk.exists(key)) == (False, False)


class Source(MovingBlobs):
    """Passes everything on."""

    def __init__(self, blobs: Blobs) -> None:
        super().__init__(blobs, blobs)


def copy(bucket: Bucket, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "shared.blobs.copy", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **bucket.env}, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def filled(disk: Blobs) -> Blobs:
    load = Load([disk])
    for _ in range(4):
        load.store(disk)
    disk.put(STORE_ID, b"ours")
    return disk


@pytest.mark.usefixtures("filled")
def test_the_command_says_what_it_did_and_what_failed_and_goes_on_when_repeated(bucket: Bucket, tmp_path: Path) -> None:
    urls = ((tmp_path / "blobs").as_uri(), f"s3://{BUCKET}/folder")
    bucket.faults.append(Fault("PutObject", error=(403, "AccessDenied"), times=2))
    first, second, third = (copy(bucket, *urls) for _ in range(3))
    assert (first.returncode, "11 copied" in first.stdout, "2 failed" in first.stdout) == (1, True, True)
    assert first.stderr.count("lacks a right") == 2
    assert (second.returncode, "2 copied" in second.stdout) == (0, True)
    assert (third.returncode, third.stdout) == (0, "0 copied (0 bytes), 12 were there, 0 deleted meanwhile, 0 failed\n")


def test_the_command_makes_a_bucket_once(bucket: Bucket) -> None:
    for _ in range(2):
        made = copy(bucket, "--create", "s3://another")
        assert (made.returncode, made.stderr) == (0, "")
    bucket.connect("s3://another").check()


def test_a_refusal_is_one_line(bucket: Bucket, tmp_path: Path) -> None:
    refused = copy(bucket, tmp_path.as_uri(), "s3://nowhere")
    assert refused.returncode == 2
    assert refused.stderr.startswith("halftone: s3://nowhere: there is no such bucket")
    assert refused.stderr.count("\n") == 1
