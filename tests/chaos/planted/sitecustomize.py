"""Loaded by every Python with this folder in PYTHONPATH: a poisonous source kills the worker that opens it.

With PYTHON_PLANTED_CODEC_SECONDS the codec takes so long for each picture (a child keeps PYTHON* of the environment).
"""

import os
import signal
import time
from typing import Any, BinaryIO

from services.worker import codec
from shared.blobs.disk import DiskBlobs

POISON = b"\xff\xd8\xff poison"
SECONDS = float(os.environ.get("PYTHON_PLANTED_CODEC_SECONDS", "0"))
_open = DiskBlobs.open
_compress = codec.compress


def open_blob(self: DiskBlobs, key: str) -> BinaryIO:
    file = _open(self, key)
    if os.pread(file.fileno(), len(POISON), 0) == POISON:
        os.kill(os.getpid(), signal.SIGKILL)
    return file


def compress(*arguments: Any, **limits: Any) -> codec.Rendition:
    time.sleep(SECONDS)
    return _compress(*arguments, **limits)


compress.__module__ = codec.__name__  # by which a child finds it
DiskBlobs.open = open_blob  # type: ignore[method-assign]
if SECONDS:
    codec.compress = compress
