"""The encoding of a manifest, and which files are not text at all.

The whole file is decoded once before it is parsed, because its last line may decide between UTF-8 and windows-1252.
"""

import codecs
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import partial
from typing import IO

BLOCK = 1 << 20
SUPPORTED = "UTF-8, UTF-16 with a byte order mark, and windows-1252 or ISO-8859-1"
_SUPPORTED = {"utf_8", "utf_8_sig", "utf_16", "utf_16_le", "utf_16_be", "ascii", "latin_1", "cp1252"}

# The first bytes of files uploaded by mistake. XLSX, ODS and every other zip share one signature.
_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive or a spreadsheet (XLSX, ODS)"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"%PDF-", "a PDF"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a spreadsheet (XLS)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\x00", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\x89PNG\r\n\x1a\n", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"{\\rtf", "an RTF document"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3\x00", "a database"),
)


class UnsupportedFileError(Exception):
    """The file is known not to be a CSV; the text says what it is."""


def is_supported(charset: str) -> bool:
    """Whether `encoding_of` may find this charset; it decides by the bytes alone.

    Not by `codecs.lookup`: Python keeps every unknown name that it was asked for, forever.
    """
    name = normalize_encoding(charset.lower()).replace(".", "_")
    return aliases.get(name, name) in _SUPPORTED


def encoding_of(file: IO[bytes]) -> str | None:
    """The Python name of the file's encoding, None if it is not text; the file is read to its end.

    Raises:
        UnsupportedFileError.

    """
    file.seek(0)
    head = file.read(16)
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            raise UnsupportedFileError(f"This is {kind}, not a CSV file.")
    return next((encoding for encoding in _candidates(head) if _decodes(file, encoding)), None)


def _candidates(head: bytes) -> tuple[str, ...]:
    if head.startswith(codecs.BOM_UTF8):
        return ("utf-8-sig",)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ("utf-16",)
    return ("utf-8", "windows-1252")


def _decodes(file: IO[bytes], encoding: str) -> bool:
    file.seek(0)
    try:
        for _ in codecs.iterdecode(iter(partial(file.read, BLOCK), b""), encoding):
            pass
    except UnicodeDecodeError:
        return False
    return True
