"""Compress, store, settle; a codec of the tests' own in place of the child processes."""

import os
from contextlib import suppress
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from stat import S_ISDIR
from uuid import UUID

import pytest
import redis

from services.worker.compress import Compressor, compress_batch
from services.worker.fleet import Fleet
from shared.blobs import output_key, source_key
from shared.ids import uuid7
from shared.messages import CompressBatch, Fetched, FetchedImage
from tests.integration.batches import compress_after, fetch_isolated, fetch_of, take
from tests.integration.seed import group_row, image_rows, pass_time, set_images, stop
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
    assert row["fetch_ms"] == fetched(2).images[0].fetch_ms
    assert group_row(compressor.database, request_id)["completed"] == 8


def test_a_corrupt_image_costs_its_neighbours_nothing(
    compressor: Compressor, compress: CompressBatch, request_id: UUID
) -> None:
    digest = sha256(b"corrupt").hexdigest()
    compressor.blobs.put(source_key(request_id, digest), b"corrupt", durable=False)
    images = (*fetched(1, 2, 3).images, FetchedImage(number=4, bytes=7, sha256=digest, fetch_ms=94))
    compress_batch(compressor, compress, Fetched(images=images))
    rows = image_rows(compressor.database, request_id)
    assert rows[4]["fetch_ms"] == 94
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
        name = sha256(halved(source_of(number)).body).hexdigest()
        stored.append(compressor.blobs.exists(output_key(request_id, name, "jpg")))

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
    images = (*fetched(1, 2, 3).images, FetchedImage(number=4, bytes=7, sha256=digest, fetch_ms=94))
    compress_batch(compressor, compress, Fetched(images=images))
    rows = image_rows(compressor.database, request_id)
    assert rows[4]["fetch_ms"] == 94
    assert [rows[number]["state"] for number in (1, 2, 3, 4)] == ["pending"] * 3 + ["failed"]
    assert {rows[number]["attempts"] for number in (1, 2, 3)} == {0}


def test_nothing_fetched_is_nothing_to_do(compressor: Compressor, compress: CompressBatch, codec: Codec) -> None:
    compress_batch(compressor, compress, Fetched())
    assert codec.seen == []


def test_what_comes_in_time_is_compressed_under_the_claim_of_its_fetch_and_written_once(
    compressor: Compressor, compress: CompressBatch, request_id: UUID, codec: Codec
) -> None:
    claims: list[object] = []
    codec.meanwhile = lambda: claims.extend(
        row["claimed_by"] for row in image_rows(compressor.database, request_id).values()
    )
    compress_batch(compressor, compress, fetched())
    assert claims == [compress.takes_over] * len(BATCH)


def test_a_failure_is_settled_under_the_claim_of_the_fetch_unless_others_took_the_image(
    compressor: Compressor, compress: CompressBatch, request_id: UUID, codec: Codec
) -> None:
    digest = sha256(b"corrupt").hexdigest()
    compressor.blobs.put(source_key(request_id, digest), b"corrupt", durable=False)
    codec.meanwhile = lambda: set_images(compressor.database, request_id, [2], claimed_by=uuid7())
    images = tuple(FetchedImage(number=number, bytes=7, sha256=digest) for number in (1, 2))
    compress_batch(compressor, compress, fetched().model_copy(update={"images": images}))
    rows = image_rows(compressor.database, request_id)
    assert [rows[number]["state"] for number in (1, 2)] == ["failed", "pending"]


@pytest.mark.parametrize("claimed_for", [120, -1])
def test_a_message_that_comes_again_since_its_worker_died_is_broken_up(
    compressor: Compressor, compress: CompressBatch, request_id: UUID, codec: Codec, claimed_for: float
) -> None:
    _killed(compressor, compress, fetched(claimed_for=claimed_for), codec)
    compress_batch(compressor, compress, fetched(claimed_for=claimed_for))
    assert len(codec.seen) == len(BATCH)  # by the first worker alone
    rows = image_rows(compressor.database, request_id).values()
    assert {(row["claimed_by"], row["isolated"], row["attempts"], row["due_in"] <= 0) for row in rows} == {
        (None, True, 1, True)
    }


def test_an_isolated_image_that_kills_its_workers_is_begun_five_times_and_no_more(
    compressor: Compressor, request_id: UUID, codec: Codec
) -> None:
    fetch = fetch_isolated(request_id, 1)
    take(compressor.database, fetch, [1])
    compressor.blobs.put(key_of(request_id, 1), source_of(1), durable=False)
    compress = compress_after(fetch)
    for _ in range(5):
        _killed(compressor, compress, fetched(1), codec)
    compress_batch(compressor, compress, fetched(1))
    assert len(codec.seen) == 5
    assert image_rows(compressor.database, request_id)[1]["attempts"] == 5


def test_without_valkey_the_claim_is_taken_over_in_the_database(
    compressor: Compressor, compress: CompressBatch, request_id: UUID, codec: Codec
) -> None:
    away = Fleet(redis.Redis(port=1, socket_connect_timeout=1), threads=8)
    compressor = replace(compressor, begun_before=away.begun_before)
    for _ in range(2):
        _killed(compressor, compress, fetched(), codec)
    assert len(codec.seen) == len(BATCH)
    assert {row["isolated"] for row in image_rows(compressor.database, request_id).values()} == {True}


def test_of_what_waited_longer_than_its_claim_only_what_is_still_ours_is_compressed(
    compressor: Compressor, compress: CompressBatch, request_id: UUID, codec: Codec
) -> None:
    pass_time(compressor.database, request_id, 121)
    take(compressor.database, fetch_of(request_id, [1, 2]), [1, 2])
    compress_batch(compressor, compress, fetched(claimed_for=-1))
    assert codec.seen == [source_of(number) for number in BATCH[2:]]
    states = [row["state"] for row in image_rows(compressor.database, request_id).values()]
    assert states == ["pending"] * 2 + ["completed"] * 6


def test_a_stopped_request_is_not_compressed_once_the_claim_of_its_fetch_has_ended(
    compressor: Compressor, compress: CompressBatch, request_id: UUID, codec: Codec
) -> None:
    stop(compressor.database, request_id, "cancelled")
    compress_batch(compressor, compress, fetched(claimed_for=-1))
    assert codec.seen == []


class Killed(BaseException):
    """The worker ends here."""


def _killed(compressor: Compressor, compress: CompressBatch, fetched: Fetched, codec: Codec) -> None:
    def die() -> None:
        raise Killed

    codec.meanwhile = die
    with suppress(Killed):
        compress_batch(compressor, compress, fetched)
    codec.meanwhile = lambda: None


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
