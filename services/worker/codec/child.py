"""What happens in a codec's child process: its limits, its death with its parent, one image at a time.

The trap: a raised exception is pickled, and one that cannot be unpickled breaks the whole pool; so nothing is raised.
"""

import ctypes
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import forkserver

from pebble.common.types import CONSTS

from services.worker.codec import Rendition, compress
from shared.errors import ImageError
from shared.recipe import Recipe

Codec = Callable[[bytes, Recipe], Rendition]

LOCK_SECONDS = 10.0  # how long a child waits for the pool's pipe; longer means that its holder is dead
_PR_SET_PDEATHSIG = 1
_KEPT_BLOCKS = 4  # of 16 MB: pixels of the last pictures are reused; saves a quarter of a 1 MP JPEG's time


@dataclass(frozen=True, slots=True)
class OutOfMemory:
    """The image needed more than the limit, this time."""


@dataclass(frozen=True, slots=True)
class Failed:
    """An exception that nobody foresaw: a bug of ours or of a library."""

    detail: str


Outcome = Rendition | ImageError | OutOfMemory | Failed


def default_codec(source: bytes, recipe: Recipe) -> Rendition:
    return compress(source, recipe)


def start(memory_bytes: int) -> None:
    """Run once in every child. Ctrl-C and a group's SIGTERM are for the worker, which then closes the pool."""
    from PIL import Image  # noqa: PLC0415 - the parent imports this module and must not import Pillow

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _die_with_parent()
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_DATA if sys.platform == "linux" else resource.RLIMIT_AS, memory_bytes)
    CONSTS.channel_lock_timeout = LOCK_SECONDS
    Image.core.set_blocks_max(_KEPT_BLOCKS)  # type: ignore[attr-defined]


def work(codec: Codec, source: bytes, recipe: Recipe, cpu_seconds: int) -> Outcome:
    _allow_cpu(cpu_seconds)
    try:
        return codec(source, recipe)
    except ImageError as error:
        return error
    except MemoryError:
        return OutOfMemory()
    except Exception as error:  # noqa: BLE001 - see the trap above
        return Failed(f"{type(error).__name__}: {error}")


def _limit(kind: int, amount: int) -> None:
    """Some systems know a limit and refuse to set it; the wall clock is still there."""
    try:
        resource.setrlimit(kind, (amount, amount))
    except (OSError, ValueError):
        return


def _allow_cpu(seconds: int) -> None:
    """The limit counts from the start of the process, so each image moves it on; SIGXCPU ends the child."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + 1 + seconds
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        return


def _die_with_parent() -> None:
    """The fork server ends with the worker, and a child with the fork server, even in the middle of a picture.

    The server ends when nobody holds the "alive" pipe any more, and multiprocessing gives every child a copy of it.
    """
    server = forkserver._forkserver  # noqa: SLF001 - there is no public way to it
    alive = getattr(server, "_forkserver_alive_fd", None)
    if alive is not None:
        os.close(alive)
        server._forkserver_alive_fd = None  # type: ignore[attr-defined]  # noqa: SLF001
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    worker = multiprocessing.parent_process()
    if worker is not None and not worker.is_alive():  # it died before the line above
        os._exit(1)
