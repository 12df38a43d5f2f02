"""The demo's output: plain lines, one progress bar, one table; readable in a terminal and in a log alike."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.demo import catalogue
from deploy.demo.checks import Check, Seen
from deploy.demo.receiver import JSON


def progress_bar(console: Console) -> Progress:
    """Off a terminal, only its last state is printed."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("images"),
        TimeElapsedColumn(),
        console=console,
    )


def table(seen: Seen) -> Table:
    """A row per product: what its pictures weighed before and after."""
    shown = Table(show_footer=True, box=SIMPLE_HEAD, pad_edge=False)
    total = seen.request["bytes"]
    shown.add_column("No.", justify="right")
    shown.add_column("Product", footer="each image once")
    shown.add_column("Images")
    shown.add_column("Before", justify="right", footer=_kilobytes(total["source"]))
    shown.add_column("After", justify="right", footer=_kilobytes(total["rendition"]))
    shown.add_column("Saved", justify="right", footer=_saved(total["source"], total["rendition"]))
    for product in seen.products:
        done = [image for image in product["images"] if image["rendition"]]
        before = sum(image["source"]["bytes"] for image in done)
        after = sum(image["rendition"]["bytes"] for image in done)
        cells = (_pictures(product["images"]), _kilobytes(before), _kilobytes(after), _saved(before, after))
        shown.add_row(product["serial_number"], product["name"], *cells)
    return shown


def print_arrivals(console: Console, seen: Seen) -> None:
    """The webhooks as they came."""
    for arrival in seen.arrivals:
        verdict = arrival.refusal or f"signature valid, GET showed `{arrival.status_shown}` at its receipt"
        console.print(f"webhook {arrival.event.get('type', '?')} {arrival.event_id}", soft_wrap=True)
        console.print(f"        {verdict}", soft_wrap=True)


def print_checks(console: Console, checks: Sequence[Check]) -> None:
    """A line for each promise."""
    for check in checks:
        if check.failure is None:
            console.print(f"  ok      {check.promise}", soft_wrap=True, style="green")
        else:
            console.print(f"  FAILED  {check.promise}: {check.failure}", soft_wrap=True, style="red")


def print_next_steps(console: Console, base_url: str, seen: Seen, output: Path) -> None:
    """Where everything is, and what to try."""
    folder = output.relative_to(Path.cwd()) if output.is_relative_to(Path.cwd()) else output
    lines = (
        f"output CSV    {folder}/output.csv (uploaded: {folder}/manifest.csv)",
        f"images        {folder}/renditions/ (originals: {folder}/sources/)",
        f"the request   {seen.request['links']['self']}",
        f"as a zip      {seen.request['links']['outputs_zip']}",
        "",
        f"Next: `.venv/bin/halftone submit products.csv --wait{_elsewhere(base_url)}` sends a CSV of your own,",
        f"and {base_url}/docs is about the API. The stack is still up: `make status` shows it, `make stop` ends it.",
        "",
        f"Look at what you made: {base_url}/#/requests/{seen.request['request_id']}",
    )
    for line in lines:
        console.print(line, soft_wrap=True)


def _elsewhere(base_url: str) -> str:
    return "" if base_url == "http://127.0.0.1:8080" else f" --url {base_url}"


def _pictures(images: Sequence[JSON]) -> str:
    """`2 jpeg, 1 png`, failures last."""
    kinds = Counter(str(image["rendition"]["format"]) for image in images if image["rendition"])
    counts = [f"{count} {kind}" for kind, count in kinds.items()]
    if failed := sum(image["rendition"] is None for image in images):
        counts.append(f"{failed} failed")
    shared = any(image["url"].endswith("/" + catalogue.SHARED) for image in images)
    return ", ".join(counts) + (" (1 shared)" if shared else "")


def _kilobytes(count: int) -> str:
    return f"{count / 1000:,.0f} kB"


def _saved(before: int, after: int) -> str:
    return f"{(before - after) / before:.0%}" if before else "-"
