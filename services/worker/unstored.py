"""Images whose bytes the blob store did not take or give: no fault of theirs, so they are done again."""

from collections.abc import Sequence

from services.worker.settle import Result, due_again
from shared.blobs import BlobMissing
from shared.errors import StorageError
from shared.log import get_logger
from shared.messages import Batch

STORAGE_DELAY = 15.0
"""Seconds until images are tried again that the blob store failed."""

log = get_logger(__name__)


def done_again(batch: Batch, failures: Sequence[tuple[int, StorageError]]) -> list[Result]:
    """A source that is not there is fetched again at once, which counts; everything else waits and counts nothing."""
    ailing = [error for _, error in failures if not isinstance(error, BlobMissing)]
    if ailing:  # one line a batch: a full disk must not be filled with lines about it
        log.warning("storage_failed", request_id=str(batch.request_id), images=len(ailing), error=str(ailing[0]))
    return [
        due_again(number, delay=0) if isinstance(error, BlobMissing) else _later(number) for number, error in failures
    ]


def _later(number: int) -> Result:
    return due_again(number, delay=STORAGE_DELAY, refund=True)
