"""The command `halftone`."""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from halftone_client.cli import deliveries, doctor, exits, requests, submit
from halftone_client.cli.exits import Failed
from halftone_client.cli.screen import WRONG, Screen

HELP = f"""\
Compress the images of a product catalogue: a CSV of image URLs goes in, compressed images and a CSV with their new URLs
come out.

HALFTONE_URL is the address of the service, HALFTONE_API_KEY the key where it requires one. NO_COLOR=1 turns colours
off. In a pipe the result is plain lines with tabs, and what happens meanwhile goes to stderr.

{exits.CODES}
"""

app = typer.Typer(
    help=HELP, no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)
for name, command in (
    ("submit", submit.submit),
    ("check", submit.check),
    ("status", requests.status),
    ("watch", requests.watch),
    ("retry", requests.retry),
    ("cancel", requests.cancel),
    ("list", requests.list_requests),
    ("deliveries", deliveries.deliveries),
    ("doctor", doctor.doctor),
):
    app.command(name)(command)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - Typer's
    if wanted:
        typer.echo(f"halftone {version('halftone-client')}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Options of the command itself."""


def main() -> None:
    """End the process with the command's exit code."""
    try:
        status = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = exits.DONE
    sys.exit(status)


def run(arguments: Sequence[str]) -> int:
    """The exit code; errors are printed as lines that say what to do."""
    try:
        result: Any = app(args=list(arguments), prog_name="halftone", standalone_mode=False)
    except Failed as failure:
        if failure.lines:
            Screen().say(WRONG, *failure.lines)
        return failure.code
    except TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "halftone"
        if text := error.format_message():
            Screen().say(WRONG, text, f"{path} --help lists what it takes")
        return exits.REFUSED
    except (KeyboardInterrupt, typer.Abort):
        return exits.INTERRUPTED
    return result if isinstance(result, int) else exits.DONE
