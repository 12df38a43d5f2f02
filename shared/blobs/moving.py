"""Two stores while blobs move from one to the other (docs/bucket.md).

New blobs go to the first; what it does not have is read from the second. Replicas that have the stores in the other
order work beside these: each finds what the other stores.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import BinaryIO, TypeVar

from shared.blobs.store import BlobMissing, Blobs, Bytes, Method, Put

T = TypeVar("T")


class MovingBlobs(Blobs):
    """Deletions are made in both, in the second first: the copying looks there for what was deleted meanwhile."""

    def __init__(self, first: Blobs, second: Blobs) -> None:
        self._first, self._second = first, second

    def check(self) -> None:
        self._first.check()
        self._second.check()

    def put(self, key: str, data: Bytes, *, durable: bool = True) -> None:
        self._first.put(key, data, durable=durable)

    @contextmanager
    def batch(self) -> Iterator[Put]:
        with self._first.batch() as put:
            yield put

    def open(self, key: str) -> BinaryIO:
        return self._either(lambda store: store.open(key))

    def get(self, key: str) -> bytes:
        return self._either(lambda store: store.get(key))

    def stream(self, key: str) -> Iterator[bytes]:
        return self._either(lambda store: store.stream(key))

    def size(self, key: str) -> int:
        return self._either(lambda store: store.size(key))

    def delete(self, key: str) -> None:
        self._second.delete(key)
        self._first.delete(key)

    def delete_prefix(self, prefix: str) -> None:
        self._second.delete_prefix(prefix)
        self._first.delete_prefix(prefix)

    def folders(self) -> Iterator[str]:
        """Of the first alone: only its id is compared with the database's before unknown folders are deleted."""
        return self._first.folders()

    def keys(self, folder: str) -> Iterator[tuple[str, int]]:
        return self._first.keys(folder)

    def holder(self, key: str) -> Blobs:
        return self._first if self._first.exists(key) else self._second

    def changed_at(self, folder: str) -> datetime | None:
        return max(filter(None, (self._first.changed_at(folder), self._second.changed_at(folder))), default=None)

    def sweep_temporary(self, older_than_seconds: float) -> int:
        return self._first.sweep_temporary(older_than_seconds) + self._second.sweep_temporary(older_than_seconds)

    def room(self) -> tuple[int, int] | None:
        return self._first.room()

    def signed_url(self, key: str, *, seconds: float, method: Method = "GET") -> str | None:
        """Of the store that signs: what a browser is allowed to load does not depend on where a blob is."""
        return self._first.signed_url(key, seconds=seconds, method=method) or self._second.signed_url(
            key, seconds=seconds, method=method
        )

    def _either(self, read: Callable[[Blobs], T]) -> T:
        try:
            return read(self._first)
        except BlobMissing:
            pass
        try:
            return read(self._second)
        except BlobMissing:  # it was copied meanwhile, and the second emptied
            return read(self._first)
