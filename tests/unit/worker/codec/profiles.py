"""ICC profiles made by hand, so wrong that a colour which ignores them is seen at once."""

import struct
from collections.abc import Mapping

_WHITE = (0.9642, 1.0, 0.8249)
_RED, _GREEN, _BLUE = (0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7139)


def swapped_rgb() -> bytes:
    """sRGB with its red and green primaries changed over: what is stored as red is green."""
    gamma = _tag(b"curv", struct.pack(">IH", 1, round(2.2 * 256)))
    curves = {b"rTRC": gamma, b"gTRC": gamma, b"bTRC": gamma}
    return _profile(
        b"mntr", b"RGB ", b"XYZ ", {b"rXYZ": _xyz(_GREEN), b"gXYZ": _xyz(_RED), b"bXYZ": _xyz(_BLUE)} | curves
    )


def dark_grey() -> bytes:
    """Grey with a gamma of 4: the middle is darker than it looks."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _tag(b"curv", struct.pack(">IH", 1, 4 * 256))})


def orange_cyan_cmyk() -> bytes:
    """A press whose cyan ink is orange (L 70, a 40, b 60); the other inks subtract light only."""
    grid = bytearray()
    for cyan in (0, 1):
        for others in range(8):
            light = 1.0 if others == 0 else 0.0
            lab = (70 if cyan else 100, 40 if cyan else 0, 60 if cyan else 0)
            grid += bytes((round(lab[0] * light * 2.55), round(lab[1] * light) + 128, round(lab[2] * light) + 128))
    identity = struct.pack(">9I", *(65536 if n % 4 == 0 else 0 for n in range(9)))
    ramp = bytes(range(256))
    table = _tag(b"mft1", bytes((4, 3, 2, 0)) + identity + 4 * ramp + bytes(grid) + 3 * ramp)
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


def _profile(kind: bytes, space: bytes, connection: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    name = b"test\0"
    description = _tag(b"desc", struct.pack(">I", len(name)) + name + bytes(78))
    everything = {b"desc": description, b"cprt": _tag(b"text", b"none\0"), b"wtpt": _xyz(_WHITE), **tags}
    at = 128 + 4 + 12 * len(everything)
    index, body = struct.pack(">I", len(everything)), b""
    for name, tag in everything.items():
        padded = tag + bytes(-len(tag) % 4)
        index += name + struct.pack(">II", at + len(body), len(tag))
        body += padded
    date = struct.pack(">6H", 2020, 1, 1, 0, 0, 0)
    white = struct.pack(">3i", *(round(65536 * part) for part in _WHITE))
    head = bytes(8) + struct.pack(">I", 0x02400000) + kind + space + connection + date + b"acsp" + bytes(28) + white
    head = head.ljust(128, b"\0")
    return struct.pack(">I", len(head) + len(index) + len(body)) + head[4:] + index + body


def _tag(kind: bytes, body: bytes) -> bytes:
    return kind + bytes(4) + body


def _xyz(parts: tuple[float, float, float]) -> bytes:
    return _tag(b"XYZ ", struct.pack(">3i", *(round(65536 * part) for part in parts)))
