"""Loaded by every Python with this folder in PYTHONPATH: a poisonous source kills the process that reads it."""

import os
import signal

from shared.blobs.disk import DiskBlobs

POISON = b"\xff\xd8\xff poison"
_get = DiskBlobs.get


def get(self: DiskBlobs, key: str) -> bytes:
    data = _get(self, key)
    if data.startswith(POISON):
        os.kill(os.getpid(), signal.SIGKILL)
    return data


DiskBlobs.get = get  # type: ignore[method-assign]
