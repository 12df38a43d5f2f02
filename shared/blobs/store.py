"""The interface of every blob store."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from shared.blobs.keys import BlobMissing
from shared.errors import StorageError
from shared.log import get_logger

log = get_logger(__name__)
Bytes = bytes | bytearray | memoryview
CHUNK = 256 * 1024


class Blobs(ABC):
    """Safe to use from many threads and processes at once. Raises StorageError, and BlobMissing for a missing blob."""

    @abstractmethod
    def put(self, key: str, data: Bytes, *, durable: bool = True) -> None:
        """Store it whole or not at all; `durable`: it survives a power cut once this returns. Cheap if it exists."""

    @abstractmethod
    def get(self, key: str) -> bytes: ...

    @abstractmethod
    def stream(self, key: str) -> Iterator[bytes]:
        """The bytes in pieces of at most 256 kB or so; raises BlobMissing at once, not at the first piece."""

    @abstractmethod
    def size(self, key: str) -> int: ...

    def exists(self, key: str) -> bool:
        try:
            self.size(key)
        except BlobMissing:
            return False
        return True

    @abstractmethod
    def delete(self, key: str) -> None:
        """Does nothing if it is missing."""

    @abstractmethod
    def delete_prefix(self, prefix: str) -> None:
        """A folder (`{request_id}` or `{request_id}/source`) with its content; a concurrent put may fail or survive."""

    @abstractmethod
    def folders(self) -> Iterator[str]:
        """The names of the folders at the top: one for each request, and perhaps foreign ones."""

    @abstractmethod
    def changed_at(self, folder: str) -> datetime | None:
        """When something last changed in a folder at the top, as far as the store can tell; None if it is gone."""

    @abstractmethod
    def sweep_temporary(self, older_than_seconds: float) -> int:
        """Remove files that crashes left behind; returns how many."""

    @abstractmethod
    def signed_url(self, key: str, *, seconds: float) -> str | None:
        """A URL from which anyone may read it for so long; None if the gateway serves the files itself."""


def erase_files(blobs: Blobs, request_id: UUID) -> None:
    """Delete a request's files once its rows are gone; if the store is unavailable, housekeeping does it later."""
    try:
        blobs.delete_prefix(str(request_id))
    except StorageError as error:
        log.warning("files_not_erased", request_id=str(request_id), error=str(error))
