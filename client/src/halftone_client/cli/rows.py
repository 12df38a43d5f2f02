"""Row errors: the line of the file with carets for a person, tabs for a pipe."""

from collections.abc import Sequence
from typing import IO

from rich.text import Text

from halftone_client.cli import amounts
from halftone_client.cli.carets import lines_of, mark
from halftone_client.cli.screen import WRONG, Screen
from halftone_client.harmless import harmless
from halftone_client.shapes import RowError

SHOWN = 20


def print_plain(screen: Screen, errors: Sequence[RowError]) -> None:
    """Line, row, column, URL, code, detail, value."""
    for error in errors:
        place = (error["line"], error["row"], error["column"], error["url_index"])
        screen.plain(*place, error["code"], error["detail"], error["value"])


def print_marked(screen: Screen, errors: Sequence[RowError], manifest: IO[bytes], *, name: str, count: int) -> None:
    """The first errors, each under its line."""
    shown = errors[:SHOWN]
    lines = lines_of(manifest, (error["line"] for error in shown if error["line"]))
    screen.say(WRONG, f"{name} has {amounts.many(count, 'error')}")
    for error in shown:
        screen.err.print()
        screen.err.print(Text.assemble((f"  {_place(error)}", "bold"), harmless(error["detail"])))
        if (line := lines.get(error["line"] or 0)) is not None:
            _print_line(screen, error, line, lines.get(1, ""))
    screen.err.print()
    if count > len(shown):
        screen.note(f"… and {amounts.many(count - len(shown), 'more error')}; --json lists the first {len(errors)}")


def _print_line(screen: Screen, error: RowError, line: str, header: str) -> None:
    gutter = f"  {error['line']} │ "
    marked = mark(error, line, header, width=max(20, screen.err.width - len(gutter)))
    screen.err.print(Text.assemble((gutter, "dim"), marked.text))
    blank = " " * (len(gutter) - 2) + "│ "
    screen.err.print(Text.assemble((blank, "dim"), " " * marked.begin, ("^" * marked.length, "red")))


def _place(error: RowError) -> str:
    parts = []
    if error["line"]:
        parts.append(f"line {error['line']}")
    if error["url_index"]:
        parts.append(f"URL {error['url_index']}")
    return f"{', '.join(parts)}: " if parts else ""
