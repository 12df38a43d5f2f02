"""Structured logs to stdout: readable lines for a person, JSON lines for a collector."""

import logging
import sys
from typing import Any

import structlog


def configure(*, level: str, style: str) -> None:
    """Send structlog's and the standard library's records through one renderer; `style` is `text` or `json`."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendering: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if style == "json"
        else [_renderer_for_people()]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("httpx", "httpcore", "dramatiq"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers[:] = []
        logging.getLogger(name).propagate = True


def _renderer_for_people() -> structlog.dev.ConsoleRenderer:
    """Plain tracebacks: the pretty ones print every local variable, secrets among them, and take seconds."""
    return structlog.dev.ConsoleRenderer(
        colors=False, pad_event_to=24, pad_level=False, exception_formatter=structlog.dev.plain_traceback
    )


def get_logger(name: str) -> Any:
    """A structlog logger; `log.info("event", key=value)`."""
    return structlog.stdlib.get_logger(name)
