"""One interface, and what every store does alike: a folder on disk, a bucket at an S3 server, a move between them."""

import fcntl
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from stat import S_ISDIR
from uuid import uuid4

import pytest

from shared.blobs import BlobMissing, Blobs, connect, output_key, source_key
from shared.blobs.moving import MovingBlobs
from shared.errors import StorageError
from tests.bucket import Bucket

REQUEST = uuid4()
KEY = source_key(REQUEST, "a" * 64)
OUT = output_key(REQUEST, "b" * 64, "jpg")


@pytest.fixture(params=["disk", "bucket", "folder of a bucket", "moving to a bucket", "moving to the disk"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    disk = connect(f"file://{tmp_path}/blobs")
    if request.param == "disk":
        return disk
    bucket: Bucket = request.getfixturevalue("bucket")
    inner = bucket.connect("s3://halftone/of/pictures" if "folder" in request.param else "s3://halftone")
    if "moving" in request.param:
        return MovingBlobs(inner, disk) if request.param.endswith("bucket") else MovingBlobs(disk, inner)
    return inner


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Blobs]:
    before = os.umask(0o077)
    yield connect(f"file://{tmp_path}/blobs")
    os.umask(before)


@pytest.fixture
def synced(disk: Blobs, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been synced to the disk, in order."""
    seen: list[str] = []
    sync = os.fsync

    def watched(descriptor: int) -> None:
        seen.append("folder" if S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    return seen


@pytest.mark.parametrize("durable", [True, False])
def test_a_stored_blob_is_read_back_and_a_deleted_one_is_gone(blobs: Blobs, *, durable: bool) -> None:
    for data in (b"", b"picture", b"picture"):
        blobs.put(KEY, bytearray(data), durable=durable)
        assert (blobs.get(KEY), blobs.size(KEY)) == (data, len(data))
    assert (blobs.exists(KEY), blobs.exists(OUT)) == (True, False)
    blobs.delete(KEY)
    assert not blobs.exists(KEY)


def test_a_blob_is_overwritten_by_one_of_another_size_and_listed_once(blobs: Blobs) -> None:
    blobs.put(KEY, b"half")
    blobs.put(KEY, b"the whole")
    blobs.put(OUT, b"rendition")
    assert blobs.get(KEY) == b"the whole"
    assert sorted(blobs.keys(str(REQUEST))) == [(OUT, 9), (KEY, 9)]


def test_a_batch_stores_all_that_was_put(blobs: Blobs) -> None:
    keys = [output_key(REQUEST, letter * 64, "jpg") for letter in "abc"]
    with blobs.batch() as put:
        for key in keys:
            put(key, memoryview(key.encode()))
    assert [blobs.get(key).decode() for key in keys] == keys


def test_many_threads_put_the_same_blob(blobs: Blobs) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: blobs.put(OUT, b"rendition"), range(32)))
    assert (blobs.get(OUT), len(list(blobs.keys(str(REQUEST))))) == (b"rendition", 1)


def test_a_large_blob_streams_in_pieces(blobs: Blobs) -> None:
    data = os.urandom(1_000_000)
    blobs.put(KEY, data)
    pieces = list(blobs.stream(KEY))
    assert b"".join(pieces) == data


def test_a_missing_blob_is_an_error_at_once(blobs: Blobs) -> None:
    for call in (blobs.get, blobs.size, blobs.stream):
        with pytest.raises(BlobMissing):
            call(KEY)
    blobs.delete(KEY)


def test_a_prefix_is_deleted_with_all_in_it_and_nothing_else(blobs: Blobs) -> None:
    other = source_key(uuid4(), "c" * 64)
    for key in (KEY, OUT, other):
        blobs.put(key, b"x")
    blobs.delete_prefix(f"{REQUEST}/source")
    assert (blobs.exists(KEY), blobs.exists(OUT)) == (False, True)
    blobs.delete_prefix(str(REQUEST))
    assert (blobs.exists(OUT), blobs.exists(other)) == (False, True)
    blobs.delete_prefix(str(REQUEST))


def test_the_requests_folders_are_listed_and_each_knows_its_age(blobs: Blobs) -> None:
    assert list(blobs.folders()) == []
    blobs.put(KEY, b"x")
    blobs.put(OUT, b"x")
    blobs.put("a-file-at-the-top", b"x")
    assert list(blobs.folders()) == [str(REQUEST)]
    changed = blobs.changed_at(str(REQUEST))
    assert changed is not None
    assert abs(changed - datetime.now(UTC)) < timedelta(minutes=1)
    assert blobs.changed_at(str(uuid4())) is None


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/", ".tmp/x", "a/.x", "a\\b", "a\x00b", "a b", "a\n", "ä"]
)
def test_a_key_that_could_lead_out_is_refused(blobs: Blobs, key: str) -> None:
    for call in (blobs.get, blobs.delete, blobs.delete_prefix, blobs.exists, lambda key: blobs.put(key, b"x")):
        with pytest.raises(StorageError, match="Not a blob's key"):
            call(key)


def test_files_can_be_read_by_others_whatever_the_umask(disk: Blobs, tmp_path: Path) -> None:
    disk.put(OUT, b"x")
    path = tmp_path / "blobs" / OUT
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.parent.stat().st_mode & 0o777 == path.parent.parent.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "blobs").stat().st_mode & 0o777 == 0o755


def test_files_that_a_crash_left_behind_are_swept(disk: Blobs, tmp_path: Path) -> None:
    leftover = tmp_path / "blobs" / ".tmp" / "leftover"
    leftover.write_bytes(b"half a pict")
    (tmp_path / "blobs" / ".tmp" / "folder").mkdir()
    disk.put(KEY, b"x")
    assert disk.sweep_temporary(60) == 0
    assert disk.sweep_temporary(-1) == 2
    assert not leftover.exists()
    assert disk.exists(KEY)


def test_a_file_is_written_beside_its_name_and_not_in_a_folder_that_all_share(
    disk: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[Path]] = []

    def sync(_: int) -> None:
        seen.append({path.parent for path in tmp_path.rglob("*") if path.is_file()})

    monkeypatch.setattr(os, "fsync", sync)
    disk.put(OUT, b"x")
    out = tmp_path / "blobs" / OUT
    assert {out.parent} in seen
    assert set().union(*seen) == {out.parent}
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.skipif(sys.platform != "linux", reason="ext4 is Linux's")
def test_ext4_is_told_to_spread_the_requests_folders(disk: Blobs, tmp_path: Path) -> None:
    disk.put(OUT, b"x")
    if "ext" not in subprocess.check_output(("stat", "--file-system", "--format=%T", tmp_path), text=True):
        pytest.skip("the test's folder is not on ext4")
    descriptor = os.open(tmp_path / "blobs", os.O_RDONLY)
    (flags,) = struct.unpack("l", fcntl.ioctl(descriptor, 0x80086601, bytes(8)))
    os.close(descriptor)
    assert flags & 0x20000


def test_a_put_that_fails_leaves_nothing_and_is_a_storage_error(disk: Blobs, tmp_path: Path) -> None:
    (tmp_path / "blobs" / str(REQUEST)).write_bytes(b"a file where a folder should be")
    with pytest.raises(StorageError):
        disk.put(KEY, b"x")
    assert list((tmp_path / "blobs" / ".tmp").iterdir()) == []


def test_a_full_disk_is_a_storage_error(disk: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        disk.put(KEY, b"x")
    assert not disk.exists(KEY)


def test_a_batch_syncs_each_file_and_then_each_folder_once(disk: Blobs, synced: list[str]) -> None:
    keys = [output_key(REQUEST, letter * 64, "jpg") for letter in "abc"]
    disk.put(OUT, b"the folder is there")
    synced.clear()
    with disk.batch() as put:
        for key in keys:
            put(key, b"x")
        assert synced == ["file"] * 3
    assert synced == ["file"] * 3 + ["folder"]
    synced.clear()
    with disk.batch() as put:  # whoever wrote them may have died before it synced the folder
        put(keys[0], b"x")
    assert synced == ["folder"]


def test_what_need_not_last_is_not_synced(disk: Blobs, synced: list[str]) -> None:
    disk.put(KEY, b"x", durable=False)
    assert synced == []


def test_a_batch_whose_folder_cannot_be_synced_is_a_storage_error(disk: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    disk.put(OUT, b"x")
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StorageError, match="Input/output error"), disk.batch() as put:
        put(OUT, b"x")  # whose file is there


def test_a_blob_is_opened_for_another_process(blobs: Blobs) -> None:
    with pytest.raises(BlobMissing):
        blobs.open(KEY)
    blobs.put(KEY, b"picture")
    with blobs.open(KEY) as file:
        assert os.pread(file.fileno(), 100, 0) == b"picture"


def test_deleting_a_request_while_files_land_crashes_neither(disk: Blobs) -> None:
    done = threading.Event()

    def keep_putting() -> None:
        for number in count():
            with suppress(StorageError):
                disk.put(f"{REQUEST}/out/{number}.jpg", b"x", durable=False)
            if done.is_set():
                return

    with ThreadPoolExecutor(1) as thread:
        putting = thread.submit(keep_putting)
        for _ in range(100):
            disk.delete_prefix(str(REQUEST))
        done.set()
        putting.result()
    disk.delete_prefix(str(REQUEST))
    assert list(disk.folders()) == []


def test_an_object_store_signs_urls_for_a_while_and_the_gateway_serves_from_a_disk(
    disk: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert disk.signed_url(OUT, seconds=60) is None
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    url = connect("s3://pictures/halftone").signed_url(OUT, seconds=60)
    assert url is not None
    assert url.startswith("https://")
    assert f"/halftone/{OUT}?" in url
    assert "X-Amz-Expires=60" in url
