"""Blobs as files below one folder that all replicas share.

A file appears under its name only when it is complete: it is written in `.tmp` (on the same volume, and swept without
looking through every request's folder), then renamed. The gateway reads these files as another user, so modes are set
explicitly, whatever the umask.
"""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from shared.blobs.store import CHUNK, Blobs, Bytes, Put, checked, storage_errors

TEMPORARY = ".tmp"  # files being written, folders being removed
FILE_MODE = 0o644
FOLDER_MODE = 0o755


class DiskBlobs(Blobs):
    """Creates `root` if it is missing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._writer = uuid4().hex
        self._written = count()
        with storage_errors("the store"):
            root.parent.mkdir(parents=True, exist_ok=True)
            _make(root)
            _make(root / TEMPORARY)

    def put(self, key: str, data: Bytes, *, durable: bool = True) -> None:
        if durable:
            with self.batch() as put:
                put(key, data)
        else:
            self._put(key, data, durable=False)

    @contextmanager
    def batch(self) -> Iterator[Put]:
        """Each folder's names are synced once, at the end."""
        folders: set[Path] = set()

        def put(key: str, data: Bytes) -> None:
            # Even if the file existed: its writer may have died after the rename.
            folders.add(self._put(key, data, durable=True).parent)

        yield put
        for folder in folders:
            with storage_errors(str(folder.relative_to(self.root))):
                _sync_folder(folder)

    def open(self, key: str) -> BinaryIO:
        with storage_errors(key):
            return self._path(key).open("rb", buffering=0)

    def get(self, key: str) -> bytes:
        with storage_errors(key):
            return self._path(key).read_bytes()

    def stream(self, key: str) -> Iterator[bytes]:
        self.size(key)
        return self._chunks(key)

    def size(self, key: str) -> int:
        with storage_errors(key):
            return self._path(key).stat().st_size

    def delete(self, key: str) -> None:
        with storage_errors(key):
            self._path(key).unlink(missing_ok=True)

    def delete_prefix(self, prefix: str) -> None:
        """Renamed first, so that no file can be added to a folder that is being emptied."""
        trash = self._temporary()
        with storage_errors(prefix), suppress(FileNotFoundError):
            self._path(prefix).rename(trash)
            shutil.rmtree(trash, ignore_errors=True)  # `sweep_temporary` removes the rest

    def folders(self) -> Iterator[str]:
        with storage_errors("the store"), os.scandir(self.root) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    yield entry.name

    def changed_at(self, folder: str) -> datetime | None:
        """The newest time of the folder and its entries: a new file in `out` does not change the folder itself."""
        path = self._path(folder)
        with storage_errors(folder), suppress(FileNotFoundError):  # removed meanwhile
            with os.scandir(path) as inner:
                newest = max([path.stat().st_mtime, *(entry.stat().st_mtime for entry in inner)])
            return datetime.fromtimestamp(newest, UTC)
        return None

    def sweep_temporary(self, older_than_seconds: float) -> int:
        before = time.time() - older_than_seconds
        removed = 0
        with storage_errors("the store"):
            for path in (self.root / TEMPORARY).iterdir():
                with suppress(FileNotFoundError):
                    if path.lstat().st_mtime < before:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
                        removed += 1
        return removed

    def signed_url(self, key: str, *, seconds: float) -> None:  # noqa: ARG002
        checked(key)

    def _put(self, key: str, data: Bytes, *, durable: bool) -> Path:
        """`durable`: its bytes are, once this returns; its name is not yet."""
        path = self._path(key)
        with storage_errors(key):
            if not _has_size(path, len(data)):
                temporary = self._temporary()
                try:
                    _write(temporary, data, durable=durable)
                    self._move(temporary, path, durable=durable)
                except BaseException:
                    with suppress(OSError):
                        temporary.unlink(missing_ok=True)
                    raise
        return path

    def _path(self, key: str) -> Path:
        return self.root / checked(key)

    def _chunks(self, key: str) -> Iterator[bytes]:
        with storage_errors(key), self._path(key).open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def _temporary(self) -> Path:
        return self.root / TEMPORARY / f"{self._writer}-{next(self._written)}"

    def _move(self, temporary: Path, path: Path, *, durable: bool) -> None:
        try:
            temporary.replace(path)
        except FileNotFoundError:
            self._make_folder(path.parent, durable=durable)
            temporary.replace(path)

    def _make_folder(self, folder: Path, *, durable: bool) -> None:
        """Its name must survive a power cut too, so its parent is synced, and so on up to the root."""
        if folder != self.root:
            self._make_folder(folder.parent, durable=durable)
            _make(folder)
            if durable:
                _sync_folder(folder.parent)


def _make(folder: Path) -> None:
    with suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(FOLDER_MODE)


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _write(path: Path, data: Bytes, *, durable: bool) -> None:
    with path.open("xb", buffering=0) as file:
        os.fchmod(file.fileno(), FILE_MODE)
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
        if durable:
            os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
