"""Structured logs to stdout: readable lines for a person, JSON lines for a collector.

The trap: our users' URLs are secrets (presigned queries, webhook tokens), and exceptions quote them: PostgreSQL shows
the row that broke a constraint, Dramatiq the whole message. So every finished line is redacted, ours or a library's.
"""

import logging
import re
import sys
from typing import Any

# Where rich is installed (the local stack), structlog imports it for tracebacks that we do not use: 3 MB a process.
if _hidden := "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]
import structlog

if _hidden:
    del sys.modules["rich"]

# Stored URLs hold no space, backslash, quote, < or > (shared/urls.py); in JSON a quote or backslash ends the text.
_USER_INFO = re.compile(r"(://)[^\s/?#\"<>\\]+@")  # up to the last @: a password may hold one
# Each match stops at the next URL: scanning from each of a thousand URLs to the end would take quadratic time.
_QUERY = re.compile(r"(https?://(?:(?!https?://)[^\s?#\"<>\\])*\?)[^\s\"<>\\]+", re.IGNORECASE)
# Characters that a terminal obeys instead of showing: C0 and C1 (except newline), line separators, direction marks.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_SECRET = re.compile(r"\b(whsec_|ht_[0-9a-z]+_)[\w+/=-]+", re.IGNORECASE)


def redact(text: str) -> str:
    """Hide the queries and user info of URLs, and our own secrets."""
    text = _USER_INFO.sub(r"\1***@", text)
    return _SECRET.sub(r"\1***", _QUERY.sub(r"\1***", text))


def harmless(text: str) -> str:
    """Escape terminal controls, and indent all lines but the first, so that quoted text cannot pass for a log line."""
    escaped = _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return escaped.replace("\n", "\n    ")


class _Formatter(structlog.stdlib.ProcessorFormatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def _name_messages(record: logging.LogRecord) -> bool:
    """Dramatiq logs a message with all its arguments; show only its actor and id."""
    if isinstance(record.args, tuple):
        record.args = tuple(_name(value) for value in record.args)
    return True


def _name(value: Any) -> Any:
    return f"{value.actor_name}({value.message_id})" if hasattr(value, "message_id") else value


def _with_trace_id(_logger: Any, _method: str, line: dict[str, Any]) -> dict[str, Any]:
    """The trace of a request has its id (ADR 30)."""
    if "request_id" in line:
        line["trace_id"] = str(line["request_id"]).replace("-", "")
    return line


def configure(*, level: str, style: str, trace_ids: bool = False) -> None:
    """Send structlog's and the standard library's records through one renderer; `style` is `text` or `json`.

    `trace_ids`: lines about a request name its trace too.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *([_with_trace_id] if trace_ids else []),
    ]
    rendering: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if style == "json"
        else [_renderer_for_people(), lambda _logger, _method, line: harmless(line)]
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
    formatter = _Formatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    handler.addFilter(_name_messages)
    logging.raiseExceptions = False  # otherwise a line that cannot be written goes to stderr unredacted
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("dramatiq").setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers[:] = []
        logging.getLogger(name).propagate = True


def _renderer_for_people() -> structlog.dev.ConsoleRenderer:
    """With plain tracebacks: the pretty ones print every local variable, secrets too, and take seconds."""
    return structlog.dev.ConsoleRenderer(
        colors=False, pad_event_to=24, pad_level=False, exception_formatter=structlog.dev.plain_traceback
    )


def get_logger(name: str) -> Any:
    """A structlog logger; `log.info("event", key=value)`."""
    return structlog.stdlib.get_logger(name)
