"""Where a command writes: its result to stdout, what happens meanwhile to stderr.

On a terminal that is for a person; in a pipe stdout gets plain lines with tabs, or JSON.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from halftone_client.cli.streams import is_unicode
from halftone_client.harmless import harmless, harmless_json

WIDEST = 40
"""Columns of a table's cell, except the last one's."""
OK, WRONG, WARN = ("✓", "green"), ("X", "red"), ("!", "yellow")


class Output(Console):
    """One of both; Rich itself ends the process with 1 where a pipe has no reader."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Screen:
    """`as_json`: stdout gets one JSON document and nothing else.

    What it is given may come from strangers: nothing in it is markup, and it controls no terminal.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self.out = Output(highlight=False, markup=False, emoji=False, soft_wrap=True)
        self.err = Output(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

    @property
    def is_plain(self) -> bool:
        """Whether stdout is read by a program."""
        return self.as_json or not self.out.is_terminal

    def json(self, value: Any) -> None:
        indent = 2 if self.out.is_terminal else None
        _write(harmless_json(json.dumps(value, indent=indent, ensure_ascii=not is_unicode(sys.stdout))))

    def plain(self, *cells: object) -> None:
        """One line of a pipe: cells between tabs."""
        line = "\t".join("" if cell is None else harmless(" ".join(str(cell).split())) for cell in cells)
        _write(line)

    def show(self, what: RenderableType = "") -> None:
        """A part of the result, for a person."""
        self.out.print(harmless(what) if isinstance(what, str) else what)

    def say(self, symbol: tuple[str, str], text: str, *more: str) -> None:
        """What happened, in a line, and further ones below it."""
        mark, colour = symbol
        self.err.print(Text.assemble((mark, colour), " ", harmless(text)))
        for line in more:
            self.err.print(f"  {harmless(line)}")

    def note(self, text: str) -> None:
        self.err.print(Text(harmless(text), "dim"))

    def fields(self, pairs: Iterable[tuple[str, str | Text]]) -> None:
        """Names and values, aligned."""
        table = Table.grid(padding=(0, 3))
        table.add_column(style="dim")
        table.add_column(overflow="fold")
        for name, value in pairs:
            table.add_row(name, _cell(value))
        self.out.print(table, soft_wrap=False)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, right: str = "") -> None:
        """`right`: the columns (between spaces) whose cells are numbers. The last one is cut to fit."""
        cells = [[_cell(cell) for cell in row] for row in rows]
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim underline")
        used = 0
        for place, column in enumerate(columns):
            justify: JustifyMethod = "right" if column in right.split() else "left"
            widest = max([len(column), *(row[place].cell_len for row in cells)])
            room = WIDEST if place < len(columns) - 1 else max(len(column), self.out.width - used)
            widest = min(widest, room)
            used += widest + 2
            table.add_column(column, justify=justify, no_wrap=True, width=widest)
        for row in cells:
            table.add_row(*row)
        self.out.print(table, soft_wrap=False)


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _cell(content: str | Text) -> Text:
    """A Text has one style, that of all of it."""
    if isinstance(content, str):
        return Text(harmless(content))
    return Text(harmless(content.plain), content.style)
