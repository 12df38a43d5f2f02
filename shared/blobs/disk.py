"""Blobs as files below one folder that all replicas share.

A file appears under its name only when it is complete: it is written under a hidden name beside it, then renamed. What
a crash leaves behind goes with its folder. The gateway reads these files as another user, so modes are set explicitly,
whatever the umask.

The trap: ext4 puts a new file's inode near its folder's, and new folders near each other. Without a journal it passes
over every inode that was deleted there in the last minutes, one by one, which took more time than all else in a worker.
So requests' folders are spread over the disk, and no file begins its life in a folder that all of them share.
"""

import os
import shutil
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from shared.blobs.store import CHUNK, Blobs, Bytes, Method, Put, checked, storage_errors

TEMPORARY = ".tmp"  # folders being removed
FILE_MODE = 0o644
FOLDER_MODE = 0o755
_GET_FLAGS, _SET_FLAGS, _TOPDIR = 0x80086601, 0x40086602, 0x20000
"""FS_IOC_GETFLAGS, FS_IOC_SETFLAGS and FS_TOPDIR_FL of linux/fs.h (64 bit); `chattr +T` sets it by hand."""


class DiskBlobs(Blobs):
    """Creates `root` if it is missing; a service that only reads may have it mounted read-only."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._writer = uuid4().hex
        self._written = count()
        with storage_errors("the store"):
            if root.is_dir() and os.statvfs(root).f_flag & os.ST_RDONLY:
                return
            root.parent.mkdir(parents=True, exist_ok=True)
            _make(root)
            _make(root / TEMPORARY)
        _spread(root)

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
        trash = self.root / TEMPORARY / self._temporary()
        with storage_errors(prefix), suppress(FileNotFoundError):
            self._path(prefix).rename(trash)
            shutil.rmtree(trash, ignore_errors=True)  # `sweep_temporary` removes the rest

    def folders(self) -> Iterator[str]:
        with storage_errors("the store"), os.scandir(self.root) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                    yield entry.name

    def keys(self, folder: str) -> Iterator[tuple[str, int]]:
        for inner, _, names in os.walk(self._path(folder)):  # passes over what is deleted meanwhile
            for path in (Path(inner, name) for name in names if not name.startswith(".")):
                with suppress(FileNotFoundError):
                    yield str(path.relative_to(self.root)), path.stat().st_size

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
        removed, failure = 0, None
        with storage_errors("the store"):
            for path in (self.root / TEMPORARY).iterdir():
                try:
                    if path.lstat().st_mtime < before:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
                        removed += 1
                except FileNotFoundError:
                    continue
                except OSError as error:  # the others go all the same
                    failure = error
            if failure:
                raise failure
        return removed

    def room(self) -> tuple[int, int]:
        with storage_errors("the store"):
            disk = shutil.disk_usage(self.root)
        return disk.free, disk.total

    def signed_url(self, key: str, *, seconds: float, method: Method = "GET") -> None:  # noqa: ARG002
        checked(key)

    def _put(self, key: str, data: Bytes, *, durable: bool) -> Path:
        """`durable`: its bytes are, once this returns; its name is not yet."""
        path = self._path(key)
        with storage_errors(key):
            if not _has_size(path, len(data)):
                try:
                    self._write(path, data, durable=durable)
                except FileNotFoundError:  # its folder is not there yet, or has just been deleted
                    self._make_folder(path.parent, durable=durable)
                    self._write(path, data, durable=durable)
        return path

    def _path(self, key: str) -> Path:
        return self.root / checked(key)

    def _chunks(self, key: str) -> Iterator[bytes]:
        with storage_errors(key), self._path(key).open("rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def _temporary(self) -> str:
        """A name that nobody else uses, and no key has."""
        return f".{self._writer}-{next(self._written)}"

    def _write(self, path: Path, data: Bytes, *, durable: bool) -> None:
        temporary = path.with_name(self._temporary())
        try:
            _write(temporary, data, durable=durable)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

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


def _spread(folder: Path) -> None:
    """Tell ext4 that the folders in it have nothing to do with each other; other file systems need no such hint."""
    if sys.platform != "linux":
        return
    import fcntl  # noqa: PLC0415

    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            (flags,) = struct.unpack("l", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8)))
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", flags | _TOPDIR))
        finally:
            os.close(descriptor)


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
