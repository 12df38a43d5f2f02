"""What every blob store can do, wherever it keeps its bytes."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from shared.errors import StorageError
from shared.log import get_logger

log = get_logger(__name__)
Bytes = bytes | bytearray | memoryview
CHUNK = 256 * 1024


class Blobs(ABC):
    """Safe to use from many threads and processes at once. Failures are StorageError, a missing blob BlobMissing."""

    @abstractmethod
    def put(self, key: str, data: Bytes, *, durable: bool = True) -> None:
        """Store it whole or not at all; `durable`: it survives a power cut once this returns. Cheap if it is there."""

    @abstractmethod
    def get(self, key: str) -> bytes: ...

    @abstractmethod
    def stream(self, key: str) -> Iterator[bytes]:
        """The bytes in pieces of at most 256 kB or so; raises BlobMissing at once, not at the first piece."""

    @abstractmethod
    def size(self, key: str) -> int: ...

    @abstractmethod
    def exists(self, key: str) -> bool: ...

    @abstractmethod
    def delete(self, key: str) -> None:
        """Also where there is none."""

    @abstractmethod
    def delete_prefix(self, prefix: str) -> None:
        """A folder (`{request_id}` or `{request_id}/source`) and all in it; a put under way may fail or land anew."""

    @abstractmethod
    def folders(self) -> Iterator[str]:
        """The names of the folders at the top: one for each request, and whatever else may lie there."""

    @abstractmethod
    def changed_at(self, folder: str) -> datetime | None:
        """When something last changed in a folder at the top, as far as the store can tell; None where it is gone."""

    @abstractmethod
    def sweep_temporary(self, older_than_seconds: float) -> int:
        """Remove what crashes left behind; returns how many."""

    @abstractmethod
    def signed_url(self, key: str, *, seconds: float) -> str | None:
        """A URL that anyone may read it from for a while; None where the gateway serves the files itself."""


def erase_files(blobs: Blobs, request_id: UUID) -> None:
    """Delete a request's files once its rows are gone; if the store is away, housekeeping finds them as orphans."""
    try:
        blobs.delete_prefix(str(request_id))
    except StorageError as error:
        log.warning("files_not_erased", request_id=str(request_id), error=str(error))
