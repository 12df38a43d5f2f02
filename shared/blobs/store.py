"""The interface of every blob store, the keys in it, and its errors."""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from tempfile import TemporaryFile
from typing import BinaryIO, Literal
from uuid import UUID

from shared.errors import StorageError
from shared.log import get_logger

log = get_logger(__name__)
Bytes = bytes | bytearray | memoryview
Put = Callable[[str, Bytes], None]
Method = Literal["GET", "PUT"]
CHUNK = 256 * 1024
STORE_ID = "store-id"
"""A key at the top of the store: not in a request's folder, and not served by the gateway (identity.py)."""
# Every part begins with a letter or digit: no "..", no empty part, no name of our temporary files.
_KEY = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*(/[0-9A-Za-z][0-9A-Za-z._-]*)*")


class BlobMissing(StorageError):
    """There is no such blob, or not any more."""


class StoreRefused(StorageError):
    """The store is there, and only a person can put right why it does not answer; the message is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How a bucket is reached; None is found as the cloud's own tools find it.

    `public_endpoint`: where browsers reach it, if not where we do. `answer_seconds`: until an answer begins; a call is
    repeated for twice as long, so that it takes three times that at most.
    """

    key_id: str | None = None
    secret: str | None = field(default=None, repr=False)
    region: str | None = None
    endpoint: str | None = None
    public_endpoint: str | None = None
    allow_http: bool = False
    answer_seconds: float = 15.0


def source_key(request_id: UUID, sha256: str) -> str:
    return f"{request_id}/source/{sha256}"


def output_key(request_id: UUID, sha256: str, extension: str) -> str:
    return f"{request_id}/out/{sha256}.{extension}"


def checked(key: str) -> str:
    """The key itself; raises StorageError for a key that could lead out of the store."""
    if len(key) > 512 or not _KEY.fullmatch(key):
        raise StorageError(f"Not a blob's key: {key[:80]!r}.")
    return key


@contextmanager
def storage_errors(what: str, errors: tuple[type[Exception], ...] = (OSError,)) -> Iterator[None]:
    """Raise BlobMissing for FileNotFoundError, StorageError for the other `errors`."""
    try:
        yield
    except FileNotFoundError as error:
        raise BlobMissing(f"{what} is not there.") from error
    except errors as error:
        raise StorageError(f"{what}: {getattr(error, 'strerror', None) or str(error)[:200]}") from error


def in_memory(data: Bytes) -> BinaryIO:
    """A file with a descriptor, and on no disk where the system can do that."""
    file = os.fdopen(os.memfd_create("blob"), "w+b") if hasattr(os, "memfd_create") else TemporaryFile()  # noqa: SIM115
    file.write(data)
    file.seek(0)  # writes the buffer, too
    return file


class Blobs(ABC):
    """Safe to use from many threads and processes at once. Raises StorageError, and BlobMissing for a missing blob."""

    def check(self) -> None:  # noqa: B027 - a folder was made when it was opened
        """Raises StoreRefused if a person has to put something right, StorageError if the store is away."""

    @abstractmethod
    def put(self, key: str, data: Bytes, *, durable: bool = True) -> None:
        """Store it whole or not at all; `durable`: it survives a power cut once this returns. Cheap if it exists."""

    @contextmanager
    def batch(self) -> Iterator[Put]:
        """Store several: what was put within the block survives a power cut once the block has ended, not before.

        So the end of the block may raise StorageError for all of them.
        """
        yield self.put

    def open(self, key: str) -> BinaryIO:
        """A file with a descriptor, which another process can be given."""
        return in_memory(self.get(key))

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
    def keys(self, folder: str) -> Iterator[tuple[str, int]]:
        """The keys below a folder at the top, with their sizes in bytes."""

    def holder(self, key: str) -> "Blobs":  # noqa: ARG002
        """The store from which it is to be served, where there are two."""
        return self

    @abstractmethod
    def changed_at(self, folder: str) -> datetime | None:
        """When something last changed in a folder at the top, as far as the store can tell; None if it is gone."""

    @abstractmethod
    def sweep_temporary(self, older_than_seconds: float) -> int:
        """Remove files that crashes left behind; returns how many."""

    def room(self) -> tuple[int, int] | None:
        """Bytes that are free and bytes in all; None where the store does not say, as a bucket."""
        return None

    @abstractmethod
    def signed_url(self, key: str, *, seconds: float, method: Method = "GET") -> str | None:
        """A URL with which anyone may do that for so long; None if the gateway serves the files itself."""


def erase_files(blobs: Blobs, request_id: UUID) -> None:
    """Delete a request's files once its rows are gone; if the store is unavailable, housekeeping does it later."""
    try:
        blobs.delete_prefix(str(request_id))
    except StorageError as error:
        log.warning("files_not_erased", request_id=str(request_id), error=str(error))
