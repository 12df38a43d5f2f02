"""Logs as the services have them, caught."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

import structlog

from shared import log


@contextmanager
def logging_as(style: str) -> Iterator[io.StringIO]:
    """Catch the log in this style, and restore the logging afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        with redirect_stdout(io.StringIO()) as written:
            log.configure(level="info", style=style)
        yield written
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
        logging.raiseExceptions = True
