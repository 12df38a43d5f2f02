"""The command `halftone`."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

from halftone_client.cli import exits


def main() -> None:
    """End the process with the command's exit code, also while it is still loading."""
    try:
        for name in ("SIGTERM", "SIGHUP"):  # so that a terminal gets its cursor back, and parts of files go
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:  # nohup has it ignored
                signal.signal(number, _end)
        from halftone_client.cli.app import run  # noqa: PLC0415 - it takes a while

        status = run(sys.argv[1:])
    except KeyboardInterrupt:  # before anything was sent
        print("X Interrupted. Type the same command again.", file=sys.stderr)  # noqa: T201
        status = exits.INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has enough
        status = exits.UNREAD
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if status == exits.UNREAD:  # what is left to write has no reader either
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    sys.exit(status)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(128 + number)
