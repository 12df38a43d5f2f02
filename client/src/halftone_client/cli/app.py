"""The commands, and what ends them."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer
from typer.exceptions import TyperException

from halftone_client.cli import deliveries, doctor, exits, requests, streams, submit
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
    help=HELP,
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
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
    context: typer.Context,
    *,
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Without a command, say which there are."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(exits.REFUSED)


def run(arguments: Sequence[str]) -> int:
    """The exit code; errors are printed as lines that say what to do."""
    streams.prepare()
    command = typer.main.get_command(app)  # its own main() has exit codes of its own
    try:
        with command.make_context("halftone", list(arguments)) as context:
            return int(command.invoke(context))
    except typer.Exit as end:
        return end.exit_code
    except Failed as failure:
        if failure.lines:
            Screen().say(WRONG, *failure.lines)
        return failure.code
    except TyperException as error:
        where = getattr(error, "ctx", None)
        path = where.command_path if where else "halftone"
        Screen().say(WRONG, error.format_message(), f"{path} --help lists what it takes")
    except BrokenPipeError:
        raise
    except OSError as error:
        Screen().say(WRONG, f"The output cannot be written: {error.strerror or error}.")
    return exits.REFUSED
