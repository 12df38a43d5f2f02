"""What strangers wrote (hosts, receivers, the author of a CSV) reaches a terminal as text alone."""

import io
import json
from collections.abc import Callable

import pytest
from rich.text import Text

from halftone_client.cli.carets import mark
from halftone_client.cli.rows import print_marked
from halftone_client.cli.screen import WARN, Screen
from halftone_client.shapes import RowError

EVIL = "a\x1b]0;title\x07b\x9b2Jc\x7fd\u202ee\r\nf [red]g[/] [link=https://evil.example]h[/link] :smile:"
SHOWN = "[red]g[/] [link=https://evil.example]h[/link] :smile:"
CONTROLS = {*map(chr, range(32)), *map(chr, range(127, 160)), "\u202e"} - {"\n", "\t"}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that nothing is cut."""
    monkeypatch.setenv("COLUMNS", "300")


def assert_harmless(text: str) -> None:
    assert not CONTROLS.intersection(text), repr(text)
    assert "\nf" not in text, "it begins a line"


@pytest.mark.parametrize(
    "write",
    [
        lambda screen: screen.say(WARN, EVIL, EVIL),
        lambda screen: screen.note(EVIL),
        lambda screen: screen.show(EVIL),
        lambda screen: screen.fields([("Webhook", EVIL), ("Status", Text(EVIL, "red"))]),
        lambda screen: screen.table(("ERROR", "DETAIL"), [(Text(EVIL, "red"), EVIL)]),
        lambda screen: screen.plain(EVIL, 1),
    ],
)
def test_text_controls_no_terminal_and_is_no_markup(
    capsys: pytest.CaptureFixture[str], write: Callable[[Screen], None]
) -> None:
    write(Screen())
    written = "".join(capsys.readouterr())
    assert_harmless(written)
    assert SHOWN in written


def test_json_has_the_same_text_in_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(as_json=True).json({"name": EVIL})
    written = capsys.readouterr().out
    assert_harmless(written)
    assert json.loads(written) == {"name": EVIL}


def test_a_csv_of_somebody_else_is_shown_without_its_controls(capsys: pytest.CaptureFixture[str]) -> None:
    line = "1,\x1b[2J\x9b2J\u202eShoe,bad"
    found = RowError(row=1, line=2, column="Input Image Urls", url_index=1, code="c", detail=EVIL, value="bad")
    manifest = io.BytesIO(f"S. No.,Product Name,Input Image Urls\n{line}\n".encode())
    print_marked(Screen(), [found], manifest, name=EVIL, count=1)
    assert_harmless(capsys.readouterr().err)
    marked = mark(found, line, "S. No.,Product Name,Input Image Urls", width=200)
    assert marked.text[marked.begin : marked.begin + marked.length] == "bad"
