"""Take over, compress, store, settle; a codec of the tests' own in place of the child processes."""

import os
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from stat import S_ISDIR
from uuid import UUID

import pytest

from services.worker.compress import Compressor, compress_batch
from shared.blobs import output_key, source_key
from shared.messages import CompressBatch, Fetched, FetchedImage
from tests.integration.batches import fetch_of, take
from tests.integration.seed import group_row, image_rows, pass_time, stop
from tests.integration.worker.conftest import BATCH, Codec, fetched, halved, key_of, source_of


def test_renditions_are_stored_and_settled(compressor: Compressor, compress: CompressBatch, request_id: UUID) -> None:
    compress_batch(compressor, compress, fetched())
    rows = image_rows(compressor.database, request_id)
    assert {row["state"] for row in rows.values()} == {"completed"}
    row, made = rows[2], halved(source_of(2))
    assert compressor.blobs.get(output_key(request_id, row["rendition_sha256"], "jpg")) == made.body
    files = {"source": made.source, "rendition": made.info}
    expected = {f"{file}_{name}": value for file, info in files.items() for name, value in asdict(info).items()}
    assert {name: row[name] for name in expected} == expected
    assert (row["rendition_quality"], row["kept_original"]) == (made.quality, made.kept_original)
    assert group_row(compressor.database, request_id)["completed"] == 8


def test_a_corrupt_image_costs_its_neighbours_nothing(
    compressor: Compressor, compress: CompressBatch, request_id: UUID
) -> None:
    digest = sha256(b"corrupt").hexdigest()
    compressor.blobs.put(source_key(request_id, digest), b"corrupt", durable=False)
    images = (*fetched(1, 2, 3).images, FetchedImage(number=4, bytes=7, sha256=digest))
    compress_batch(compressor, compress, Fetched(images=images))
    rows = image_rows(compressor.database, request_id)
    assert [rows[number]["state"] for number in (1, 2, 3, 4)] == ["completed"] * 3 + ["failed"]
    assert rows[4]["error_code"] == "corrupt_image"


def test_a_source_that_is_not_there_is_fetched_again_and_no_error(
    compressor: Compressor, compress: CompressBatch, request_id: UUID
) -> None:
    compressor.blobs.delete(key_of(request_id, 3))
    compress_batch(compressor, compress, fetched())
    rows = image_rows(compressor.database, request_id)
    assert {number for number, row in rows.items() if row["state"] != "completed"} == {3}
    assert (rows[3]["claimed_by"], rows[3]["error_code"], rows[3]["due_in"] <= 0) == (None, None, True)


@pytest.mark.parametrize("deadly", [False, True])
def test_a_source_that_a_power_cut_has_spoilt_is_fetched_again(
    compressor: Compressor, compress: CompressBatch, request_id: UUID, codec: Codec, *, deadly: bool
) -> None:
    """Also where it killed the child that read it, which then could not say what it was."""
    codec.dies_of_zeros = deadly
    key = key_of(request_id, 3)
    compressor.blobs.delete(key)
    compressor.blobs.put(key, bytes(len(source_of(3))), durable=False)
    compress_batch(compressor, compress, fetched())
    assert image_rows(compressor.database, request_id)[3]["state"] == "pending"
    assert not compressor.blobs.exists(key)


def test_the_worker_itself_reads_no_source(
    compressor: Compressor, compress: CompressBatch, request_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(type(compressor.blobs), "get")
    monkeypatch.setattr(type(compressor.blobs), "__abstractmethods__", frozenset())
    compress_batch(compressor, compress, fetched())
    assert group_row(compressor.database, request_id)["completed"] == 8


def test_renditions_are_stored_as_they_come(
    compressor: Compressor, compress: CompressBatch, request_id: UUID, codec: Codec
) -> None:
    stored: list[bool] = []

    def look(number: int) -> None:
        made = halved(source_of(number))
        stored.append(compressor.blobs.exists(output_key(request_id, made.info.sha256, "jpg")))

    codec.between = lambda index: look(BATCH[index])
    compress_batch(compressor, compress, fetched())
    assert stored == [True] * len(BATCH)


def test_no_rendition_counts_whose_name_is_not_on_the_disk(
    compressor: Compressor, compress: CompressBatch, request_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is synced once, at the end; a corrupt image's result needs no file."""
    digest = sha256(b"corrupt").hexdigest()
    compressor.blobs.put(source_key(request_id, digest), b"corrupt", durable=False)
    compressor.blobs.put(output_key(request_id, "0" * 64, "jpg"), b"the folder is there")
    sync = os.fsync

    def fails_for_folders(descriptor: int) -> None:
        if S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(5, "Input/output error")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fails_for_folders)
    images = (*fetched(1, 2, 3).images, FetchedImage(number=4, bytes=7, sha256=digest))
    compress_batch(compressor, compress, Fetched(images=images))
    rows = image_rows(compressor.database, request_id)
    assert [rows[number]["state"] for number in (1, 2, 3, 4)] == ["pending"] * 3 + ["failed"]
    assert {rows[number]["attempts"] for number in (1, 2, 3)} == {0}


def test_nothing_fetched_is_nothing_to_do(compressor: Compressor, compress: CompressBatch, codec: Codec) -> None:
    compress_batch(compressor, compress, Fetched())
    assert codec.seen == []


def test_images_that_are_no_longer_ours_are_not_compressed(
    compressor: Compressor, compress: CompressBatch, request_id: UUID, codec: Codec
) -> None:
    pass_time(compressor.database, request_id, 121)
    take(compressor.database, fetch_of(request_id, [1, 2]), [1, 2])
    compress_batch(compressor, compress, fetched())
    assert codec.seen == [source_of(number) for number in BATCH[2:]]
    states = [row["state"] for row in image_rows(compressor.database, request_id).values()]
    assert states == ["pending"] * 2 + ["completed"] * 6


def test_a_stopped_request_is_not_compressed(
    compressor: Compressor, compress: CompressBatch, request_id: UUID, codec: Codec
) -> None:
    stop(compressor.database, request_id, "cancelled")
    compress_batch(compressor, compress, fetched())
    assert codec.seen == []


def test_a_store_that_cannot_be_read_costs_no_attempt(
    compressor: Compressor, compress: CompressBatch, request_id: UUID, tmp_path: Path
) -> None:
    source = tmp_path / key_of(request_id, 3)
    source.unlink()
    source.mkdir()  # reading it fails, and not because it is missing
    compress_batch(compressor, compress, fetched())
    row = image_rows(compressor.database, request_id)[3]
    assert (row["state"], row["attempts"], row["claimed_by"]) == ("pending", 0, None)
    assert 10 < row["due_in"] <= 15


def test_a_full_disk_costs_no_attempt_and_a_missing_source_waits_for_nothing(
    compressor: Compressor, compress: CompressBatch, request_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    compressor.blobs.delete(key_of(request_id, 2))
    monkeypatch.setattr(os, "fsync", full)
    compress_batch(compressor, compress, fetched())
    rows = image_rows(compressor.database, request_id)
    assert {(row["state"], row["claimed_by"]) for row in rows.values()} == {("pending", None)}
    assert [row["attempts"] for row in rows.values()] == [0, 1] + [0] * 6
    assert 10 < rows[1]["due_in"] <= 15
    assert rows[2]["due_in"] <= 0
