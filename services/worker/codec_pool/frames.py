"""What passes between the worker and a codec child: a request of fixed size, an answer with a fixed header.

Nothing is unpickled: the child has decoded strangers' files, so the worker takes no objects from it. The source travels
as a file descriptor. Each answer repeats its request's number, so that no stray bytes pass for the next picture's.
"""

import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from typing import Final, NamedTuple

from services.worker.codec import FileInfo, Rendition
from shared.errors import (
    CorruptImage,
    ImageError,
    NotAnImage,
    TooLarge,
    TooManyFrames,
    TooManyPixels,
    UnsupportedFormat,
)
from shared.formats import EXTENSIONS
from shared.recipe import Mode, Recipe, TargetFormat

_STEP_SECONDS: Final = 0.2
_REQUEST: Final = struct.Struct(">IBBBI")
_ANSWER: Final = struct.Struct(">Ic32sI24sBB?8sIII8sII")
_MODES: Final = tuple(Mode)
_FORMATS: Final = tuple(TargetFormat)
_ERRORS: Final = {
    kind.code: kind for kind in (NotAnImage, UnsupportedFormat, TooLarge, TooManyPixels, TooManyFrames, CorruptImage)
}
_MOST_BYTES: Final = 300_000_000  # the largest picture (75 million pixels of all frames) without any compression
_MOST_TEXT: Final = 4_000
_BEST: Final = 100
_MOST: Final = 2**31 - 1  # what PostgreSQL's `integer` holds


@dataclass(frozen=True, slots=True)
class Failure:
    """No rendition, and perhaps not the picture's fault: it is final after `tries` attempts in all."""

    detail: str
    tries: int = 1


Outcome = Rendition | ImageError | Failure


@dataclass(frozen=True, slots=True)
class Answer:
    """`source_sha256` of the bytes that the child read; None where it died before it could say so."""

    outcome: Outcome
    source_sha256: str | None = None


class _Header(NamedTuple):
    """`code` of an error, `tries` of a failure, all else of a rendition; its `quality` is 0 where it has none."""

    number: int
    kind: bytes
    source_sha256: bytes
    size: int
    code: bytes = b""
    tries: int = 0
    quality: int = 0
    kept_original: bool = False
    source_format: bytes = b""
    source_width: int = 0
    source_height: int = 0
    source_bytes: int = 0
    format: bytes = b""
    width: int = 0
    height: int = 0


class Stream:
    """One end of the socket between a worker and its child. A time limit covers everything that is received."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._end.settimeout(None)

    def in_steps(self) -> None:
        """Let waiting take short steps: if this process is frozen meanwhile (a paused container), that is one step.

        What is sent waits for one step at most (`BlockingIOError`): a child that reads its requests has room for one.
        """
        step = struct.pack("@ll", 0, int(_STEP_SECONDS * 1_000_000))
        self._end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, step)
        self._end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, step)

    def send(self, *parts: bytes) -> None:
        sent = self._end.sendmsg(parts)
        for part in parts:
            if sent < len(part):
                self._end.sendall(memoryview(part)[sent:])
            sent = max(0, sent - len(part))

    def send_request(self, number: int, recipe: Recipe, source: int) -> None:
        mode, wanted = _MODES.index(recipe.mode), _FORMATS.index(recipe.format)
        frame = _REQUEST.pack(number, recipe.quality, mode, wanted, recipe.max_side or 0)
        socket.send_fds(self._end, [frame], [source])

    def receive_request(self) -> tuple[int, Recipe, int]:
        """The number, the recipe, and the source as a descriptor that is now the caller's."""
        frame, descriptors, _, _ = socket.recv_fds(self._end, _REQUEST.size, 1)
        if not frame:
            raise EOFError
        frame += self.exactly(_REQUEST.size - len(frame))[0]
        number, quality, mode, wanted, max_side = _REQUEST.unpack(frame)
        recipe = Recipe(quality=quality, mode=_MODES[mode], format=_FORMATS[wanted], max_side=max_side or None)
        return number, recipe, descriptors[0]

    def send_answer(self, number: int, source: bytes, outcome: Outcome) -> None:
        header, body = _packed(number, source, outcome)
        self.send(_ANSWER.pack(*header), body)

    def receive_answer(self, number: int, seconds: float, more: Callable[[], float] = lambda: 0.0) -> Answer:
        """Raises `ValueError` for what is no answer to request `number`, before it takes any more memory.

        `more`: asked for further seconds when they are used up.
        """
        frame, left = self.exactly(_ANSWER.size, seconds, more)
        header = _Header(*_ANSWER.unpack(frame))
        if header.number != number or header.size > (_MOST_BYTES if header.kind == b"R" else _MOST_TEXT):
            raise ValueError("the child's answer has the wrong number or size")
        body, _ = self.exactly(header.size, left)
        return Answer(_outcome(header, body), header.source_sha256.hex())

    def exactly(self, size: int, left: float = inf, more: Callable[[], float] = lambda: 0.0) -> tuple[bytes, float]:
        """So many bytes, and what is `left` of the seconds.

        Raises `TimeoutError` when none is left, `EOFError` where the other end is closed.
        """
        parts: list[bytes] = []
        while size:
            if left <= 0 and (left := more()) <= 0:
                raise TimeoutError
            began = time.monotonic()
            with suppress(BlockingIOError):  # a step has passed
                part = self._end.recv(size, socket.MSG_WAITALL)
                if not part:
                    raise EOFError
                parts.append(part)
                size -= len(part)
            left -= min(_STEP_SECONDS, time.monotonic() - began)
        return (parts[0] if len(parts) == 1 else b"".join(parts)), left

    def shut_down(self) -> None:
        with suppress(OSError):
            self._end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._end.close()


def _packed(number: int, source: bytes, outcome: Outcome) -> tuple[_Header, bytes]:
    digest = sha256(source).digest()
    if isinstance(outcome, Rendition):
        return _packed_rendition(number, digest, outcome), outcome.body
    text = outcome.detail.encode(errors="replace")[:_MOST_TEXT]
    if isinstance(outcome, Failure):
        return _Header(number, b"F", digest, len(text), tries=outcome.tries), text
    return _Header(number, b"E", digest, len(text), code=outcome.code.encode()), text


def _packed_rendition(number: int, source_sha256: bytes, made: Rendition) -> _Header:
    return _Header(
        number=number,
        kind=b"R",
        source_sha256=source_sha256,
        size=len(made.body),
        quality=made.quality or 0,
        kept_original=made.kept_original,
        source_format=made.source.format.encode(),
        source_width=made.source.width,
        source_height=made.source.height,
        source_bytes=made.source.bytes,
        format=made.info.format.encode(),
        width=made.info.width,
        height=made.info.height,
    )


def _outcome(header: _Header, body: bytes) -> Outcome:
    if header.kind == b"R":
        return _rendition(header, body)
    text = body.decode(errors="replace")
    if header.kind == b"F":
        return Failure(text, header.tries)
    kind = _ERRORS.get(_text(header.code))
    if header.kind != b"E" or kind is None:
        raise ValueError("the child's answer is of no known kind")
    return kind(text)


def _rendition(header: _Header, body: bytes) -> Rendition:
    source = FileInfo(
        bytes=header.source_bytes,
        format=_text(header.source_format),
        width=header.source_width,
        height=header.source_height,
    )
    info = FileInfo.of(body, _text(header.format), (header.width, header.height))
    for file in (source, info):
        if file.format not in EXTENSIONS or not all(0 < n <= _MOST for n in (file.bytes, file.width, file.height)):
            raise ValueError("the child's answer describes no picture")
    if header.quality > _BEST or header.kept_original == (header.quality > 0):
        raise ValueError("the child's answer has an impossible quality")
    quality = header.quality or None
    return Rendition(body=body, info=info, source=source, quality=quality, kept_original=header.kept_original)


def _text(padded: bytes) -> str:
    return padded.rstrip(b"\0").decode("ascii", errors="replace")
