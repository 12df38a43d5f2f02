"""Compress a batch (step 6): under the claim of its fetch, run the codec in its child processes, store, settle.

A missing source is not the image's error: the image is pending again, due now.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from hashlib import sha256
from threading import Event
from uuid import UUID

from services.worker.claim import renew, take_over
from services.worker.codec import FileInfo, Rendition
from services.worker.codec_pool import CodecPool, Made, PoolClosedError
from services.worker.settle import Result, due_again, failed, settle, unstored
from shared import tracing
from shared.blobs import BlobMissing, Blobs, Put, erase_files, identity, output_key, source_key
from shared.db import Database, execute
from shared.errors import ImageError, StorageError
from shared.formats import EXTENSIONS
from shared.lifecycle import ImageState
from shared.log import get_logger
from shared.messages import Batch, FetchBatch, Fetched, FetchedImage

RENEW_SECONDS = 30.0
_FILE_COLUMNS = tuple(field.name for field in fields(FileInfo))

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compressor:
    """What compressing needs from its process."""

    database: Database
    blobs: Blobs
    pool: CodecPool
    begun_before: Callable[[UUID], bool | None]  # worker/fleet.py


def compress_batch(compressor: Compressor, batch: Batch, fetched: Fetched) -> None:
    """Make and store the renditions of the images that are still ours, then settle them in one statement."""
    if fetched.images and not _settled(compressor, batch, fetched):
        _erase_if_deleted(compressor.database, compressor.blobs, batch.request_id)


def keep_claims(
    database: Database, in_hand: Callable[[], Iterable[tuple[Batch, Fetched]]], stop: Event, *, longest: float
) -> None:
    """Until `stop`, renew the claims of batches in hand: behind slow codecs they may wait for a thread for minutes.

    Not after `longest` seconds, or a thread that hangs would keep its images from all other workers.
    """
    since: dict[UUID, float] = {}
    while not stop.wait(RENEW_SECONDS):
        now = time.monotonic()
        try:
            held = list(in_hand())
            since = {batch.claim: since.get(batch.claim, now) for batch, _ in held}
            for batch, fetched in held:
                if now - since[batch.claim] <= longest:
                    _renew(database, batch, fetched)
                else:
                    log.warning("batch_hangs", request_id=str(batch.request_id), group=batch.group)
        except Exception:
            log.exception("claims_not_renewed")


def _erase_if_deleted(database: Database, blobs: Blobs, request_id: UUID) -> None:
    """Erase the request's files (sources too) unless its row still exists: it may just be cancelled.

    DELETE and retention commit first and remove files then; a worker writes files first and looks for the row then. So
    the last of them finds every file. If the worker is killed in between, the redelivered message or housekeeping does.
    Only where database and store belong together: a wrong database knows none of the store's requests.
    """
    known = database.transact(
        lambda session: execute(session, "SELECT 1 FROM processing_request WHERE id = %(id)s", {"id": request_id})
    )
    if not known and identity.is_shared(database, blobs):
        erase_files(blobs, request_id)


def _settled(compressor: Compressor, batch: Batch, fetched: Fetched) -> int:
    """Returns how many images were ours from the claim to the end."""
    images = take_over(compressor.database, compressor.begun_before, batch, fetched)
    if not images:
        return 0
    try:
        results = _compress(compressor, batch, images)
    except PoolClosedError:  # the worker is stopping: another one continues at once
        results = [due_again(image.number, delay=0, refund=True) for image in images]
    with tracing.step("settle", {"halftone.images": len(results)}) as about:
        about["halftone.images_settled"] = settled = compressor.database.run(
            lambda connection: settle(connection, batch, results)
        )
    return settled


def _compress(compressor: Compressor, batch: Batch, images: Sequence[FetchedImage]) -> list[Result]:
    """Renditions are stored while the codec goes on; their results count once all of their names are on the disk."""
    blobs, results = compressor.blobs, dict[int, Result | StorageError]()
    sources = [partial(blobs.open, source_key(batch.request_id, image.sha256)) for image in images]
    try:
        with blobs.batch() as put:
            for made in compressor.pool.compress(sources, batch.recipe, batch.request_id, batch.account_id):
                image = images[made.index]
                results[image.number] = result = _result(blobs, put, batch, image, made)
                _trace(image, result, made.seconds)
    except StorageError as error:
        results |= {number: error for number, result in results.items() if _is_rendition(result)}
    failures = [(number, error) for number, error in results.items() if isinstance(error, StorageError)]
    return [result for result in results.values() if isinstance(result, Result)] + unstored(batch, failures)


def _trace(image: FetchedImage, result: Result | StorageError, seconds: float) -> None:
    traced = tracing.current()
    if traced is None or not traced.records:
        return
    about: tracing.Attributes = {"halftone.image": image.number, "halftone.source.bytes": image.bytes}
    if isinstance(result, StorageError):
        about["error.type"] = "storage"
    elif result.error_code:
        about["error.type"] = result.error_code
    else:
        about |= {
            "halftone.rendition.bytes": result.rendition_bytes or 0,
            "halftone.source.format": result.source_format or "",
        }
    traced.ended("codec", seconds, about)


def _is_rendition(result: Result | StorageError) -> bool:
    return isinstance(result, Result) and result.state == ImageState.COMPLETED


def _renew(database: Database, batch: Batch, fetched: Fetched) -> None:
    images = batch.images if isinstance(batch, FetchBatch) else fetched.images
    numbers = [image.number for image in images]
    try:
        database.run(lambda connection: renew(connection, batch, numbers))
    except Exception:  # the other batches' claims go on
        log.exception("claim_not_renewed", request_id=str(batch.request_id), group=batch.group)


def _result(blobs: Blobs, put: Put, batch: Batch, image: FetchedImage, made: Made) -> Result | StorageError:
    outcome = made.outcome
    try:
        if isinstance(outcome, StorageError) or not _is_whole(blobs, batch, image, made):
            return outcome if isinstance(outcome, StorageError) else BlobMissing("the source is spoilt")
        if isinstance(outcome, ImageError):
            return failed(image.number, outcome, fetch_ms=image.fetch_ms)
        digest = sha256(outcome.body).hexdigest()  # the name under which it is stored: not for the child to say
        put(output_key(batch.request_id, digest, EXTENSIONS[outcome.info.format]), outcome.body)
    except StorageError as error:
        return error
    return _completed(image, outcome, digest)


def _is_whole(blobs: Blobs, batch: Batch, image: FetchedImage, made: Made) -> bool:
    """Sources are not synced to disk, so after a power cut one may be spoilt; it is deleted then, to be fetched again.

    The child says what it read, unless the picture killed it.
    """
    key = source_key(batch.request_id, image.sha256)
    if (made.source_sha256 or sha256(blobs.get(key)).hexdigest()) == image.sha256:
        return True
    blobs.delete(key)
    return False


def _completed(image: FetchedImage, made: Rendition, rendition_sha256: str) -> Result:
    files = {"source": made.source, "rendition": made.info}
    columns = {f"{file}_{name}": getattr(info, name) for file, info in files.items() for name in _FILE_COLUMNS}
    return Result(
        number=image.number,
        state=ImageState.COMPLETED,
        source_sha256=image.sha256,
        rendition_sha256=rendition_sha256,
        rendition_quality=made.quality,
        kept_original=made.kept_original,
        fetch_ms=image.fetch_ms,
        **columns,
    )
