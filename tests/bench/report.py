"""Writes docs/performance.md from the results; the prose that is kept by hand is in docs/performance-notes.md."""

from pathlib import Path
from typing import Any

from tests.bench import sections
from tests.bench.capacity import capacity
from tests.bench.plots import PLOTS, draw
from tests.bench.targets import ROWS, Row
from tests.stack import ROOT

Results = dict[str, dict[str, Any]]
NOTES = ROOT / "docs" / "performance-notes.md"
FOLDER = "performance"
INTRODUCTION = """\
# Performance

Written by `make bench`; do not edit. The section "What was tried" is [performance-notes.md](performance-notes.md).

Each figure is the median of interleaved runs on one machine, with its spread (least to greatest) and its number n. A
ratio is that of two medians, and its spread is that of the pairs. Everything runs on the same cores: the stack as
`make run` starts it (one worker, fsync on), the image host and the measuring client on the loopback.
"""
HOW = """\
## How the pictures were made, and how they compare with photographs

The pictures are drawn (`tests/bench/pictures.py`): leaves of power-law sizes that hide each other, soft light, 1/f
texture that some regions have more of than others. The strength of the texture is found by bisection, so that each file
has the bytes of real photographs at quality 92, 4:2:0: 73 kB at 0.3 MP, 225 kB at 1 MP, 636 kB at 4 MP. A test holds
bytes per pixel to 5%.
"""
SECTIONS = (
    ("speed", "Throughput beside the limit and the peer", sections.speed),
    ("counts", "What one image costs", sections.counts),
    ("size", "Flat over the size of the work", sections.size),
    ("huge", "A million images", sections.huge),
    ("latency", "Three images", sections.latency),
    ("idle", "Idle", sections.idle),
    ("fleet", "The fleet", sections.fleet),
)


def write(results: Results, folder: Path) -> Path:
    """The page and its plots in `folder`; the page's path."""
    drawn = draw(results, folder / FOLDER)
    parts = [INTRODUCTION, *_quick(results), _machine(results), "## Targets\n", _targets(results)]
    for figure, title, section in SECTIONS:
        parts += [f"## {title}\n", _state(results, figure) or section(results[figure]["data"])]
        parts += [
            f"![{_words(name)}]({FOLDER}/{path.name})\n" for name, path in drawn.items() if PLOTS[name][0] == figure
        ]
        if figure == "speed":
            parts += [HOW, _photograph(results)]
    parts += ["## Capacity on paper\n", _state(results, "counts") or capacity(results["counts"]["data"])]
    parts += [NOTES.read_text()] if NOTES.exists() else []
    page = folder / "performance.md"
    page.write_text("\n".join(part for part in parts if part))
    return page


def _words(name: str) -> str:
    return name.replace("-", " ").capitalize()


def _quick(results: Results) -> list[str]:
    quick = [name for name, result in results.items() if result.get("quick")]
    return [f"**Only a quick run: {', '.join(quick)}. These numbers mean nothing.**\n"] if quick else []


def _state(results: Results, figure: str) -> str:
    """Why there is nothing to show; empty if there is."""
    if figure not in results:
        return f"Not measured yet: `python -m tests.bench {figure}`.\n"
    if "failed" in results[figure]:
        return f"failed: {results[figure]['failed']}\n"
    return ""


def _machine(results: Results) -> str:
    """The facts of the last figure, and which figures another machine or commit gave."""
    if not results:
        return "Nothing was measured yet.\n"
    machines = {name: result["machine"] for name, result in results.items()}
    last = max(machines.values(), key=lambda facts: facts["date"])
    lines = [f"| {name} | {value} |" for name, value in last.items() if name != "load"]
    others = [
        f"`{name}` at {facts['commit']} on {facts['date']}"
        for name, facts in sorted(machines.items())
        if facts["commit"] != last["commit"] or facts["cpu"] != last["cpu"]
    ]
    loads = ", ".join(f"{name} {facts['load']}" for name, facts in sorted(machines.items()))
    note = f"\nFigures of another commit: {'; '.join(others)}.\n" if others else ""
    begin = f"\nLoad average when each figure began: {loads}.\n"
    return "\n".join(["## The machine\n", "| | |", "|---|---|", *lines, begin, note])


def _targets(results: Results) -> str:
    head = ["| figure | before | target | stretch | measured | |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *(_target(results, row) for row in ROWS), ""])


def _target(results: Results, row: Row) -> str:
    result = results.get(row.figure, {})
    if "data" not in result:
        measured, met = (f"failed: {result['failed']}" if "failed" in result else "not measured"), ""
    else:
        values = row.read(result["data"])
        measured = " / ".join(row.show.format(value.measured) for value in values)
        met = "quick" if result.get("quick") else " / ".join("met" if value.met else "missed" for value in values)
    return f"| {row.title} | {row.before} | {row.target} | {row.stretch} | {measured} | {met} |"


def _photograph(results: Results) -> str:
    data = results.get("speed", {}).get("data")
    return sections.photograph(data) if data else ""
