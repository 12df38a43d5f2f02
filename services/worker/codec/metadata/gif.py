"""GIF: a list of blocks. The same walk counts frames and leaves out comments."""

from collections.abc import Iterator
from typing import Final

_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B
_GRAPHIC_CONTROL, _APPLICATION = b"\xf9", b"\xff"
_KEPT_APPLICATIONS: Final = (b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012")
_HEADER = 13


def strip_gif(source: bytes, _exif: bytes) -> bytes:
    """A GIF has no orientation."""
    parts = [source[: _header_end(source)]]
    parts += [source[start:end] for kind, start, end in _blocks(source) if kind == _IMAGE or _kept(source, start)]
    return b"".join([*parts, b";"])


def extent(source: bytes, *, stop_at: int) -> tuple[tuple[int, int], int]:
    """The size that holds the canvas and every frame, and the number of frames, counted up to `stop_at`."""
    width, height = _word(source, 6), _word(source, 8)
    frames = 0
    for kind, start, _end in _blocks(source):
        if kind != _IMAGE:
            continue
        frames += 1
        width = max(width, _word(source, start + 1) + _word(source, start + 5))
        height = max(height, _word(source, start + 3) + _word(source, start + 7))
        if frames >= stop_at:
            break
    return (width, height), frames


def _kept(source: bytes, start: int) -> bool:
    label = source[start + 1 : start + 2]  # of a file that is cut off, nothing
    if label == _APPLICATION:
        return source[start + 3 : start + 14] in _KEPT_APPLICATIONS
    return label == _GRAPHIC_CONTROL


def _blocks(source: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, start and end of each block, up to the trailer or the end of the file."""
    at = _header_end(source)
    while at < len(source) and source[at] != _TRAILER:
        kind = source[at]
        if kind == _EXTENSION:
            end = _after_sub_blocks(source, at + 2)
        elif kind == _IMAGE:
            end = _after_sub_blocks(source, at + 11 + _table(source, at + 9))
        else:
            at += 1  # stray bytes between blocks, as decoders do
            continue
        yield kind, at, end
        at = end


def _after_sub_blocks(source: bytes, at: int) -> int:
    while at < len(source) and source[at]:
        at += 1 + source[at]
    return min(len(source), at + 1)


def _header_end(source: bytes) -> int:
    return _HEADER + _table(source, 10)


def _table(source: bytes, flags_at: int) -> int:
    """The size of the colour table that the flags announce, in bytes."""
    flags = source[flags_at] if flags_at < len(source) else 0
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _word(source: bytes, at: int) -> int:
    return int.from_bytes(source[at : at + 2], "little")
