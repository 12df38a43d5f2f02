"""File names inside the zip: readable, and safe on Windows, macOS and Linux; pure.

Two names must differ even where a file system ignores case or compares compatibility forms, or unpacking would lose a
file. It is enough that the stems of two products differ: the position comes behind the last underscore.
"""

import re
import unicodedata

STEM_BYTES = 180
"""Below the 255 bytes of a name on Linux, and short enough for Windows' 260 characters of path."""
FORBIDDEN = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff]+')
SPACES = re.compile(r"\s+")
# Windows reserves these whatever the extension, also with superscript digits.
RESERVED = re.compile(r"(?:CON|PRN|AUX|NUL|CLOCK\$|CONIN\$|CONOUT\$|COM[0-9¹²³]|LPT[0-9¹²³])(?:[ .].*)?", re.IGNORECASE)


class Stems:
    """Gives each product a stem that no other product of the archive has."""

    def __init__(self) -> None:
        # Hashes, not names: 1,000,000 products would otherwise cost 100 MB. Equal hashes cost a suffix, no file.
        self._taken: set[int] = set()

    def stem(self, *, row: int, serial_number: str, name: str) -> str:
        wanted = safe(f"{serial_number}_{name}")
        stem, suffix = wanted, 0
        while (key := hash(fold(stem))) in self._taken:
            suffix += 1
            stem = f"{wanted}~{row}" if suffix == 1 else f"{wanted}~{row}.{suffix}"
        self._taken.add(key)
        return stem


def safe(text: str) -> str:
    """`text` as the beginning of a file name: no separators, no control characters, no device name, not too long."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode())
    text = SPACES.sub(" ", FORBIDDEN.sub("-", SPACES.sub(" ", text)))
    # A leading dot hides a file, a leading dash reads as an option, a trailing dot or space is dropped by Windows.
    text = text.encode()[:STEM_BYTES].decode(errors="ignore").lstrip(" .-~").rstrip(" .")
    return f"_{text}" if RESERVED.fullmatch(text) else text or "_"


def fold(name: str) -> str:
    """What case-insensitive and normalising file systems compare, and a little more."""
    return unicodedata.normalize("NFKC", name.upper().casefold())
