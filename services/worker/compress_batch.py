"""Compress a batch (step 6): take the claim over, run the codec in its children, store, settle.

A source that is not there is no error of the image: it is pending again, due now.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256

from services.worker.claim import claim, renew
from services.worker.codec import Rendition
from services.worker.codec_pool import CodecPool, PoolClosedError
from services.worker.fetch_batch import STORAGE_DELAY
from services.worker.settle import Result, due_again, failed, settle
from shared.blobs import Blobs, output_key, source_key
from shared.db import Database
from shared.errors import ImageError, StorageError
from shared.formats import EXTENSIONS
from shared.lifecycle import ImageState
from shared.messages import CompressBatch, Fetched, FetchedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressor:
    """What compressing needs from its process."""

    database: Database
    blobs: Blobs
    pool: CodecPool
    threads: ThreadPoolExecutor


def compress_batch(compressor: Compressor, batch: CompressBatch, fetched: Fetched) -> None:
    """Make and store the renditions of what is still ours, then settle it in one statement."""
    if not fetched.images:
        return
    numbers = [image.number for image in fetched.images]
    attempts = compressor.database.transact(lambda session: claim(session, batch, numbers))
    images = [image for image in fetched.images if image.number in attempts]
    if not images:
        return
    try:
        results = _compress(compressor, batch, images)
    except PoolClosedError:  # the worker is stopping: another goes on at once
        results = [due_again(image.number, delay=0, refund=True) for image in images]
    compressor.database.transact(lambda session: settle(session, batch, results))


def _compress(compressor: Compressor, batch: CompressBatch, images: list[FetchedImage]) -> list[Result]:
    sources = list(compressor.threads.map(lambda image: _source(compressor.blobs, batch, image), images))
    present = [(image, source) for image, source in zip(images, sources, strict=True) if source is not None]
    renditions = compressor.pool.compress(
        [source for _, source in present],
        batch.recipe,
        on_wait=lambda: compressor.database.transact(lambda session: renew(session, batch, [i.number for i in images])),
    )
    made = compressor.threads.map(
        lambda pair: _result(compressor.blobs, batch, pair[0], pair[1]),
        zip([image for image, _ in present], renditions, strict=True),
    )
    there = {image.number for image, _ in present}
    return [*made, *(due_again(image.number, delay=0) for image in images if image.number not in there)]


def _source(blobs: Blobs, batch: CompressBatch, image: FetchedImage) -> bytes | None:
    """The source, whole, or None. Sources are not synced to disk: after a power cut one may be there and wrong."""
    key = source_key(batch.request_id, image.sha256)
    try:
        source = blobs.get(key)
        if sha256(source).hexdigest() == image.sha256:
            return source
        blobs.delete(key)
    except StorageError:
        pass
    return None


def _result(blobs: Blobs, batch: CompressBatch, image: FetchedImage, made: Rendition | ImageError) -> Result:
    if isinstance(made, ImageError):
        return failed(image.number, made)
    facts, source = made.facts, made.source
    try:
        blobs.put(output_key(batch.request_id, facts.sha256, EXTENSIONS[facts.format]), made.body)
    except StorageError:
        return due_again(image.number, delay=STORAGE_DELAY, refund=True)
    return Result(
        number=image.number,
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
