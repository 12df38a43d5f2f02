"""Standard streams that can always be used: a closed one is empty, one that is not UTF-8 gets what it can show."""

import codecs
import os
import sys
from io import TextIOWrapper
from typing import TextIO, cast

ASCII = {"✓": "+", "→": ">", "…": "~", "│": "|", "•": "*"}
"""Each one column wide, as what it stands for."""
BRAILLE = range(0x2800, 0x2900)  # a spinner's
HANDLER = "halftone"


def prepare() -> None:
    """Call it once, before anything is written."""
    codecs.register_error(HANDLER, _shown)
    # Python has None for a stream that was closed when it began.
    sys.stdin = sys.stdin or _nothing("r")
    sys.stdout = sys.stdout or _nothing("w")
    sys.stderr = sys.stderr or _nothing("w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors=HANDLER)


def is_unicode(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().startswith("utf")


def _nothing(mode: str) -> TextIO:
    return cast("TextIO", os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


def _shown(error: UnicodeError) -> tuple[str, int]:
    """What an encoding lacks, as its like or as an escape sequence of Python's."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(map(_like, lacking)), error.end


def _like(one: str) -> str:
    if ord(one) in BRAILLE:
        return "*"
    return ASCII.get(one) or one.encode("ascii", "backslashreplace").decode()
