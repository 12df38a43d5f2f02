"""Text to records: Python's `csv` in strict mode, with line numbers, bounded memory and recovery.

A quote that is never closed would swallow the rest of the file. Strict mode notices it at the next quote; then only the
first line of the broken record is dropped and reading resumes on the line after it.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TextIO

REREAD_LIMIT = 32_000_000
"""Characters that may be read again after broken records, so that a hostile file takes linear time."""

csv.field_size_limit(2**31 - 1)  # process-wide; the limit of a record is ours, and the default less than a full row


@dataclass(frozen=True, slots=True)
class Broken:
    """A record that cannot be parsed. `fatal`: nothing after it can be read either."""

    unterminated: bool
    fatal: bool = False


class _TooLongError(Exception):
    pass


class _Lines:
    """Physical lines; remembers those of the current record, which may have `limit` characters."""

    def __init__(self, text: TextIO, limit: int) -> None:
        self._text = text
        self._limit = limit
        self._again: list[str] = []  # lines to read again, last one first
        self._size = 0
        self.current: list[str] = []
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.pop() if self._again else self._text.readline(self._limit + 1)
        if not line:
            raise StopIteration
        self.current.append(line)
        self.number += 1
        if len(self.current) == 1:
            self._size = 0
        self._size += len(line)
        if self._size > self._limit:
            raise _TooLongError
        return line

    def drop_first(self) -> int:
        """Put back all lines of the record except the first; returns their length in characters."""
        if len(self.current) == 1:
            self._finish_line()
        back = self.current[1:]
        self.number -= len(back)
        self._again.extend(reversed(back))
        self.current.clear()
        return sum(map(len, back))

    def _finish_line(self) -> None:
        line = self.current[0]
        while line and not self._again and not line.endswith(("\n", "\r")):
            line = self._text.readline(self._limit)


def read_records(text: TextIO, delimiter: str, *, limit: int) -> Iterator[tuple[int, list[str] | Broken]]:
    """Every record except blank lines, with the number of the line it starts on.

    A record of more than `limit` characters is broken. `text` must have been opened with `newline=""`: line ends inside
    quotes are content.
    """
    lines = _Lines(text, limit)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    reread = 0
    while True:
        line = lines.number + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except (csv.Error, _TooLongError) as error:
            unterminated = isinstance(error, csv.Error) or len(lines.current) > 1
            reread += lines.drop_first()
            yield line, Broken(unterminated, fatal=reread > REREAD_LIMIT)
            if reread > REREAD_LIMIT:
                return
            continue
        lines.current.clear()
        if fields:
            yield line, fields


def parse_line(line: str, delimiter: str) -> list[str] | None:
    """The cells of a record that was itself quoted as one cell, or None if it is not a single record."""
    reader = csv.reader(io.StringIO(line, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        records = list(islice(filter(None, reader), 2))
    except csv.Error:
        return None
    return records[0] if len(records) == 1 else None
