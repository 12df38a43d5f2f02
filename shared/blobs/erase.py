"""Erase a request's files, once its rows are gone."""

from uuid import UUID

from shared.blobs.store import Blobs
from shared.errors import StorageError
from shared.log import get_logger

log = get_logger(__name__)


def erase_files(blobs: Blobs, request_id: UUID) -> None:
    """A store that is away just now is the housekeeper's affair: it deletes files of requests that are unknown."""
    try:
        blobs.delete_prefix(str(request_id))
    except StorageError as error:
        log.warning("files_not_erased", request_id=str(request_id), error=str(error))
