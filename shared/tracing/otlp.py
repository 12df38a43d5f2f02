"""OpenTelemetry's side of tracing: whose child a span is, which are recorded, and how they leave the process.

The ids of a request's root span are its UUID, so everyone knows them: a message without a context, made by the sweeper
or by an older service, begins a child of the root. Whether a request is traced follows from its id too.

A million images would be a trace that no one can open. Groups 1, 2, 4, 8 and so on are traced, each with all of its
images, which for a million is 13 groups.
"""

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from threading import Thread
from uuid import UUID, uuid4

from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, TraceIdRatioBased
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared.log import get_logger
from shared.tracing import TRACEPARENT, Attributes

CLOSE_SECONDS = 2.0
SAMPLERS = {"always_on": 1.0, "always_off": 0.0}
SPAN_ID = (1 << 64) - 1
"""The bits of a request's id that are its root span's; never 0, for they begin with the UUID's variant."""

_root_of: ContextVar[UUID | None] = ContextVar("root of", default=None)
_format = TraceContextTextMapPropagator()
log = get_logger(__name__)


class Tracing:
    """The traces of a process. Nothing here waits: spans go to a thread, which drops those that it cannot send."""

    def __init__(self, service: str) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a line for each try; ours is one
        about = {"service.namespace": "halftone", "service.instance.id": str(uuid4())}
        name = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": f"halftone-{service}"}
        self._sampler = _ByRequest(_ratio())
        self._provider = TracerProvider(
            resource=Resource.create(about | name),
            sampler=self._sampler,
            id_generator=_Ids(),
            shutdown_on_exit=False,  # it would wait for as long as an export may take
        )
        self._provider.add_span_processor(BatchSpanProcessor(_Exporter()))
        self._tracer = self._provider.get_tracer("halftone")

    def close(self) -> None:
        """Send what is left, for two seconds at most; a thread that is not done by then ends with the process."""
        sending = Thread(target=self._provider.shutdown, name="last traces", daemon=True)
        sending.start()
        sending.join(CLOSE_SECONDS)

    def uploaded(
        self, request_id: UUID, *, seconds: float, route: str, caller: Mapping[str, str], attributes: Attributes
    ) -> None:
        """The root. The caller's own trace is a link: a stranger's ids and sampling decide nothing here."""
        now, known = time.time_ns(), _span_context(caller.get(TRACEPARENT))
        mark = _root_of.set(request_id)
        try:
            span = self._tracer.start_span(
                f"POST {route}",
                Context(),
                SpanKind.SERVER,
                attributes | {"http.request.method": "POST", "http.route": route, "url.path": route},
                links=[Link(known)] if known else (),
                start_time=now - round(seconds * 1e9),
            )
        finally:
            _root_of.reset(mark)
        span.end(now)

    def received(
        self, request_id: UUID | None, group: int | None, traceparent: str | None, name: str, attributes: Attributes
    ) -> AbstractContextManager[object]:
        """The span of a message at hand; a delivery's has no request yet, and hands on its context."""
        sent_by = _span_context(traceparent)
        if request_id is None:
            return _attached(sent_by) if sent_by else nullcontext()
        root = self._root(request_id)
        within = sent_by if sent_by and sent_by.trace_id == root.trace_id else root
        if not root.trace_flags.sampled or not (within.trace_flags.sampled if group is None else _is_traced(group)):
            return _attached(_unsampled(root))
        return self._span(name, within if within.trace_flags.sampled else root, SpanKind.CONSUMER, attributes)

    def step(self, name: str, attributes: Attributes) -> AbstractContextManager[Attributes]:
        parent = _current()
        if not parent.trace_flags.sampled:
            return nullcontext(attributes)
        return self._span(name, parent, SpanKind.INTERNAL, attributes)

    def step_of(
        self, request_id: UUID, name: str, attributes: Attributes, *, calls: bool = False
    ) -> AbstractContextManager[Attributes]:
        """Also where the message at hand is not traced, or is another request's."""
        root, parent = self._root(request_id), _current()
        if not root.trace_flags.sampled:
            return nullcontext(attributes)
        within = parent if parent.trace_id == root.trace_id and parent.trace_flags.sampled else root
        return self._span(name, within, SpanKind.CLIENT if calls else SpanKind.INTERNAL, attributes)

    @property
    def records(self) -> bool:
        """Whether the message at hand is traced, so that it is worth while to say what happens."""
        return _current().trace_flags.sampled

    def ended(self, name: str, seconds: float, attributes: Attributes, *, calls: bool = False) -> None:
        """A step that just ended and took so long, in another thread or process."""
        now = time.time_ns()
        kind = SpanKind.CLIENT if calls else SpanKind.INTERNAL
        span = self._tracer.start_span(name, None, kind, attributes, start_time=now - round(seconds * 1e9))
        if "error.type" in attributes:
            span.set_status(Status(StatusCode.ERROR))
        span.end(now)

    def headers(self) -> dict[str, str]:
        carrier: dict[str, str] = {}
        _format.inject(carrier)
        return {name: carrier[name] for name in (TRACEPARENT,) if name in carrier}

    @contextmanager
    def _span(self, name: str, parent: SpanContext, kind: SpanKind, attributes: Attributes) -> Iterator[Attributes]:
        """An exception is named by its type alone: its text may quote a user's URL."""
        span = self._tracer.start_span(name, _context(parent), kind)
        token = attach(set_span_in_context(span))
        try:
            yield attributes
        except BaseException as error:
            attributes["error.type"] = type(error).__qualname__
            raise
        finally:
            detach(token)
            span.set_attributes(attributes)
            if "error.type" in attributes:
                span.set_status(Status(StatusCode.ERROR))
            span.end()

    def _root(self, request_id: UUID) -> SpanContext:
        sampled = self._sampler.should_sample(None, request_id.int, "").decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        return SpanContext(request_id.int, request_id.int & SPAN_ID, is_remote=True, trace_flags=flags)


class _Ids(RandomIdGenerator):
    def generate_trace_id(self) -> int:
        root_of = _root_of.get()
        return root_of.int if root_of else super().generate_trace_id()

    def generate_span_id(self) -> int:
        root_of = _root_of.get()
        return root_of.int & SPAN_ID if root_of else super().generate_span_id()


class _ByRequest(TraceIdRatioBased):
    """Looks at the bits that W3C Trace Context calls random: the two before them are the same in each UUID."""

    TRACE_ID_LIMIT = (1 << 56) - 1


class _Exporter(SpanExporter):
    """Says once that the collector takes nothing, and once that it does again."""

    def __init__(self) -> None:
        self._otlp = OTLPSpanExporter()
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._otlp.export(spans)
        if self._fails != (result is not SpanExportResult.SUCCESS):
            self._fails = not self._fails
            log.warning("traces_not_sent" if self._fails else "traces_sent_again")
        return result

    def shutdown(self) -> None:
        self._otlp.shutdown()  # type: ignore[no-untyped-call]


def _ratio() -> float:
    """Of the requests that are traced; raises ValueError for a sampler that is not one of OpenTelemetry's."""
    sampler = os.environ.get("OTEL_TRACES_SAMPLER") or "always_on"
    kind = sampler.removeprefix("parentbased_")  # the parent of a request's spans is its own root
    if kind != "traceidratio":
        if kind not in SAMPLERS:
            raise ValueError("OTEL_TRACES_SAMPLER: must be always_on, always_off or traceidratio")
        return SAMPLERS[kind]
    try:
        ratio = float(os.environ.get("OTEL_TRACES_SAMPLER_ARG") or 1)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise ValueError("OTEL_TRACES_SAMPLER_ARG: must be a number from 0 to 1")
    return ratio


def _is_traced(group: int) -> bool:
    return group & (group - 1) == 0


def _span_context(traceparent: str | None) -> SpanContext | None:
    """None for what is no W3C traceparent."""
    if not traceparent:
        return None
    found = get_current_span(_format.extract({TRACEPARENT: traceparent}, Context())).get_span_context()
    return found if found.is_valid else None


def _current() -> SpanContext:
    return get_current_span().get_span_context()


def _context(parent: SpanContext) -> Context:
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _unsampled(root: SpanContext) -> SpanContext:
    return SpanContext(root.trace_id, root.span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.DEFAULT))


@contextmanager
def _attached(parent: SpanContext) -> Iterator[None]:
    token = attach(_context(parent))
    try:
        yield
    finally:
        detach(token)
