"""The printed report: a line for each run as it ends, tables at the end, every violation by name."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import astuple

from tests.chaos.run import Result

MOST_SHOWN = 12


def say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def say_result(result: Result) -> None:
    verdict = f"{len(result.violations)} VIOLATIONS" if result.violations else "ok"
    say(
        f"seed {result.seed:<7} {verdict:<13} {result.requests:>2} requests {result.images:>4} images "
        f"{result.posts:>2} webhooks, settled {result.settled_after:5.1f} s after the faults, "
        f"{result.seconds:5.1f} s in all: {', '.join(result.faults) or 'no fault'}"
    )
    for skipped in result.skipped:
        say(f"    skipped {skipped}")
    for violation in result.violations[:MOST_SHOWN]:
        say(f"    {violation.invariant}: {violation.details}")


def say_table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    lines = [tuple(head), *(tuple(map(str, row)) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    say(f"\n{title}")
    for line in lines:
        say("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def say_violations(results: Sequence[Result]) -> None:
    """Every violation, for the log of a failed run."""
    rows = [(result.seed, " + ".join(result.faults), *astuple(one)) for result in results for one in result.violations]
    if rows:
        say_table("Violations", ("seed", "faults", "invariant", "details"), rows)
