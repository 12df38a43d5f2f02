"""Compress a batch (step 6): take the claim over, run the codec in its children, store, settle.

A source that is not there is no error of the image: it is pending again, due now.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

from services.worker.claim import claim, renew
from services.worker.codec import Rendition
from services.worker.codec_pool import CodecPool, PoolClosedError
from services.worker.erased import erase_if_deleted
from services.worker.settle import Result, due_again, failed, settle
from services.worker.unstored import done_again
from shared.blobs import BlobMissing, Blobs, output_key, source_key
from shared.db import Database
from shared.errors import ImageError, StorageError
from shared.formats import EXTENSIONS
from shared.lifecycle import ImageState
from shared.messages import CompressBatch, Fetched, FetchedImage

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressor:
    """What compressing needs from its process."""

    database: Database
    blobs: Blobs
    pool: CodecPool
    threads: ThreadPoolExecutor


def compress_batch(compressor: Compressor, batch: CompressBatch, fetched: Fetched) -> None:
    """Make and store the renditions of what is still ours, then settle it in one statement."""
    if fetched.images and not _settled(compressor, batch, fetched.images):
        erase_if_deleted(compressor.database, compressor.blobs, batch.request_id)  # also what was fetched


def _settled(compressor: Compressor, batch: CompressBatch, fetched: Sequence[FetchedImage]) -> int:
    """How many images were ours from the claim to the end."""
    numbers = [image.number for image in fetched]
    attempts = compressor.database.transact(lambda session: claim(session, batch, numbers))
    images = [image for image in fetched if image.number in attempts]
    if not images:
        return 0
    try:
        results = _compress(compressor, batch, images)
    except PoolClosedError:  # the worker is stopping: another goes on at once
        results = [due_again(image.number, delay=0, refund=True) for image in images]
    return compressor.database.transact(lambda session: settle(session, batch, results))


def _compress(compressor: Compressor, batch: CompressBatch, images: list[FetchedImage]) -> list[Result]:
    numbers = [image.number for image in images]
    sources, unread = _sorted(compressor.threads.map(lambda image: _source(compressor.blobs, batch, image), images))
    renditions = compressor.pool.compress(
        [source for _, source in sources],
        batch.recipe,
        on_wait=lambda: compressor.database.transact(lambda session: renew(session, batch, numbers)),
    )
    made = zip((number for number, _ in sources), renditions, strict=True)
    results, unwritten = _sorted(compressor.threads.map(lambda pair: _result(compressor.blobs, batch, *pair), made))
    return [result for _, result in results] + done_again(batch, unread + unwritten)


def _sorted(
    outcomes: Iterable[tuple[int, T | StorageError]],
) -> tuple[list[tuple[int, T]], list[tuple[int, StorageError]]]:
    """What the blob store did, and what it failed, each with the image's number."""
    done, failures = [], []
    for number, outcome in outcomes:
        if isinstance(outcome, StorageError):
            failures.append((number, outcome))
        else:
            done.append((number, outcome))
    return done, failures


def _source(blobs: Blobs, batch: CompressBatch, image: FetchedImage) -> tuple[int, bytes | StorageError]:
    """The source, whole. They are not synced to disk: after a power cut one may be missing, or there and wrong."""
    key = source_key(batch.request_id, image.sha256)
    try:
        source = blobs.get(key)
        if sha256(source).hexdigest() == image.sha256:
            return image.number, source
        blobs.delete(key)
        return image.number, BlobMissing(key)
    except StorageError as error:
        return image.number, error


def _result(
    blobs: Blobs, batch: CompressBatch, number: int, made: Rendition | ImageError
) -> tuple[int, Result | StorageError]:
    if isinstance(made, ImageError):
        return number, failed(number, made)
    facts, source = made.facts, made.source
    try:
        blobs.put(output_key(batch.request_id, facts.sha256, EXTENSIONS[facts.format]), made.body)
    except StorageError as error:
        return number, error
    return number, Result(
        number=number,
        state=ImageState.COMPLETED,
        source_bytes=source.bytes,
        source_format=source.format,
        source_width=source.width,
        source_height=source.height,
        source_sha256=source.sha256,
        rendition_bytes=facts.bytes,
        rendition_format=facts.format,
        rendition_width=facts.width,
        rendition_height=facts.height,
        rendition_sha256=facts.sha256,
        rendition_quality=made.quality,
        kept_original=made.kept_original,
    )
