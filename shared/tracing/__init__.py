"""Traces of requests from upload to webhook, behind `OTEL_EXPORTER_OTLP_ENDPOINT` (ADR 30).

Without that variable nothing is imported and every function here returns at once. With it the trace of a request has
the request's id, so a message that was made again from the database lands in the same trace. Services say what they do
in plain dictionaries of attributes; what OpenTelemetry makes of them stands in `otlp.py`.
"""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING
from uuid import UUID

from shared.settings import exit_with

if TYPE_CHECKING:
    from shared.tracing.otlp import Tracing

Attributes = dict[str, str | int | float | bool]
TRACEPARENT = "traceparent"
"""W3C Trace Context: the header, and under the same name the option of a message."""
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL = "http/protobuf"

_tracing: "Tracing | None" = None


def configure(service: str) -> bool:
    """Trace this process, if there is a collector; returns whether. After a fork, never before: it starts a thread.

    Exits with status 2 where a variable asks for what there is not.
    """
    global _tracing  # noqa: PLW0603 - of the process, as the metrics are
    if _tracing is None and _is_wanted():
        try:
            from shared.tracing.otlp import Tracing  # noqa: PLC0415 - where there is no collector, it is not there
        except ImportError as error:
            exit_with([f"{_set(ENDPOINTS)}: traces need the packages of OpenTelemetry ({error})"])
        try:
            _tracing = Tracing(service)
        except ValueError as error:
            exit_with([str(error)])
    return _tracing is not None


def current() -> "Tracing | None":
    """What traces this process; None where it does not."""
    return _tracing


def close() -> None:
    """Send what is left, which takes two seconds at most."""
    global _tracing  # noqa: PLW0603
    if _tracing is not None:
        _tracing.close()
    _tracing = None


def step(name: str, attributes: Attributes | None = None) -> AbstractContextManager[Attributes]:
    """A step of the message at hand. What is put into the dictionary meanwhile becomes attributes too."""
    return _tracing.step(name, attributes or {}) if _tracing else nullcontext({})


def step_of(
    request_id: UUID, name: str, attributes: Attributes | None = None, *, calls: bool = False
) -> AbstractContextManager[Attributes]:
    """A step of this request, whichever message is at hand. `calls`: another server."""
    return _tracing.step_of(request_id, name, attributes or {}, calls=calls) if _tracing else nullcontext({})


def headers() -> dict[str, str]:
    """What a message carries, so that what is done about it becomes a child of the step at hand."""
    return _tracing.headers() if _tracing else {}


def uploaded(
    request_id: UUID, *, seconds: float, route: str, caller: Mapping[str, str], attributes: Attributes
) -> None:
    """The root of a request's trace: the call that brought it and took so long. `caller`: its headers."""
    if _tracing:
        _tracing.uploaded(request_id, seconds=seconds, route=route, caller=caller, attributes=attributes)


def _is_wanted() -> bool:
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if disabled or os.environ.get("OTEL_TRACES_EXPORTER", "otlp") == "none" or not _set(ENDPOINTS):
        return False
    if (name := _set(PROTOCOLS)) and os.environ[name] != PROTOCOL:
        exit_with([f"{name}: must be {PROTOCOL}"])
    return True


def _set(names: tuple[str, ...]) -> str | None:
    """The first of these variables that has a value."""
    return next((name for name in names if os.environ.get(name)), None)
