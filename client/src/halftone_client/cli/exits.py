"""Exit codes, and errors that end a command with one."""

from typing import NoReturn

DONE, SOME_FAILED, REFUSED, AWAY, NOT_DONE = 0, 1, 2, 3, 4
INTERRUPTED, UNREAD = 130, 141
CODES = """\
Exit codes: 0 done; 1 done, but some images failed; 2 the command or what was sent is refused;
3 the service cannot be reached or is busy; 4 the request was cancelled or has no image at all;
130 interrupted by Ctrl-C, 141 by a pipe that nobody reads any more."""


class Failed(Exception):
    """Ends the command; `lines` say what happened and what to do."""

    def __init__(self, *lines: str, code: int = REFUSED) -> None:
        super().__init__(*lines)
        self.lines = lines
        self.code = code


def fail(*lines: str, code: int = REFUSED) -> NoReturn:
    raise Failed(*lines, code=code)
