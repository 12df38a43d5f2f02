"""The smallest EXIF block with an orientation."""

import struct


def orientation_only(orientation: int) -> bytes:
    """A big-endian TIFF header and one directory with the tag 0x0112 alone (EXIF 2.3, 4.6.4)."""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
