"""Codecs that misbehave, for the pool's children to run; the source says how."""

import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

from services.worker.codec import FileInfo, Rendition, compress
from services.worker.codec_pool import CodecPool
from shared.blobs.store import in_memory
from shared.errors import CorruptImage, ImageError
from shared.recipe import Recipe

RECIPE = Recipe()
REQUEST = UUID(int=0)
ACCOUNT = UUID(int=99)


def outcomes(
    pool: CodecPool, sources: Sequence[bytes], recipe: Recipe = RECIPE, request_id: UUID = REQUEST
) -> list[Rendition | ImageError]:
    """Of each source, in order."""
    found: dict[int, Rendition | ImageError] = {}
    for made in pool.compress([partial(in_memory, source) for source in sources], recipe, request_id, ACCOUNT):
        assert isinstance(made.outcome, Rendition | ImageError)
        found[made.index] = made.outcome
    return [found[index] for index in range(len(sources))]


def misbehave(source: bytes, recipe: Recipe) -> Rendition:
    vice, _, rest = source.partition(b":")
    act = VICES.get(vice)
    return act(rest) if act else compress(source, recipe)


def loop(_rest: bytes) -> Rendition:
    while True:
        pass


def sleep(rest: bytes) -> Rendition:
    time.sleep(float(rest))
    return echo(b"sleep:" + rest)


def spin(rest: bytes) -> Rendition:
    """Use the processor for so many seconds."""
    until = time.process_time() + float(rest)
    while time.process_time() < until:
        pass
    return echo(b"spin:" + rest)


def allocate(_rest: bytes) -> Rendition:
    return echo(bytes(bytearray(4 * 2**30)))


def kill(_rest: bytes) -> Rendition:
    os.kill(os.getpid(), signal.SIGKILL)
    return echo(b"killed")


def corrupt(_rest: bytes) -> Rendition:
    raise CorruptImage("planted")


def bug(_rest: bytes) -> Rendition:
    raise UnpicklableError(1, 2)


def preloaded(_rest: bytes) -> Rendition:
    """How many blocks of freed pixels Pillow keeps, if the fork server has imported it; an import error is silent."""
    image = sys.modules.get("PIL.Image")
    return echo(b"no" if image is None else str(image.core.get_blocks_max()).encode())


def nothing(_rest: bytes) -> Any:
    return None


def garbage(rest: bytes) -> Rendition:
    """Say something else before the answer, as code that runs in a child might."""
    for descriptor in range(3, 64):
        with suppress(OSError):
            os.write(descriptor, pickle.dumps(echo(rest)) * 100)
    return echo(rest)


def pid(_rest: bytes) -> Rendition:
    return echo(str(os.getpid()).encode())


class UnpicklableError(Exception):
    """Cannot be built again from its arguments, which pickle tries."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one} {other}")


def echo(body: bytes) -> Rendition:
    info = FileInfo(bytes=len(body), format="png", width=1, height=1)
    return Rendition(body=body, info=info, source=info, quality=50, kept_original=False)


def slow_echo(body: bytes) -> Rendition:
    time.sleep(0.002)
    return echo(body)


ACTS = (loop, sleep, spin, allocate, kill, corrupt, bug, preloaded, nothing, garbage, pid, echo, slow_echo)
VICES: dict[bytes, Callable[[bytes], Rendition]] = {act.__name__.replace("_", " ").encode(): act for act in ACTS}
