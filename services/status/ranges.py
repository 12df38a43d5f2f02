"""The Range header (RFC 9110, section 14): one range of bytes; pure."""

import re

RANGE = re.compile(r"bytes=\s*(\d{0,18})-(\d{0,18})\s*")


class UnsatisfiableRange(ValueError):
    """The range begins behind the end."""


def parse_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte wanted, both counted from 0; None for the whole file, also where we do not understand.

    Raises UnsatisfiableRange. Several ranges in one header are answered with the whole, which is always allowed.
    """
    match = RANGE.fullmatch(header) if header else None
    if match is None or match.group(1) == match.group(2) == "":
        return None
    first, last = match.groups()
    if first == "":
        begin, end = max(size - int(last), 0), size - 1
    else:
        begin, end = int(first), min(int(last), size - 1) if last else size - 1
        if last and int(last) < begin:
            return None
    if begin >= size:
        raise UnsatisfiableRange
    return begin, end
