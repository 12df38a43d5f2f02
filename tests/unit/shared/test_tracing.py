"""What a process traces, and that one without a collector has nothing of it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from uuid import UUID

import dramatiq
import pytest

from shared import tracing
from shared.broker.trace_context import TraceContext
from shared.ids import uuid7
from shared.messages import Deliver, DispatchRequest
from tests.collector import Collector, collecting
from tests.logs import logging_as
from tests.stack import ROOT, reserve_ports

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as collector:
        monkeypatch.setenv(ENDPOINT, collector.url)
        yield collector
        tracing.close()


def _work_on(payload: dict[str, object], *, traceparent: str | None = None, error: Exception | None = None) -> None:
    traced = tracing.current()
    assert traced is not None
    options = {"traceparent": traceparent} if traceparent else {}
    message: dramatiq.Message[None] = dramatiq.Message("fetch", "worker.fetch_batch", (payload,), {}, options)
    middleware = TraceContext(traced)
    middleware.before_process_message(None, message)
    with tracing.step("settle"):
        pass
    middleware.after_process_message(None, message, exception=error)


def test_without_a_collector_nothing_is_imported() -> None:
    services = "services.ingest.app, services.worker.__main__, services.notifier.__main__, services.status.app"
    program = f"import sys, {services}; from shared import tracing; assert not tracing.configure('worker'); "
    program += "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google.protobuf'))])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=_environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_without_a_collector_steps_cost_nothing_and_messages_carry_nothing() -> None:
    with tracing.step("settle") as about, tracing.step_of(uuid7(), "finish"):
        about["x"] = 1
    tracing.uploaded(uuid7(), seconds=1, route="/", caller={}, attributes={})
    assert tracing.headers() == {}
    assert tracing.current() is None


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "many"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
    ],
)
def test_a_wrong_setting_ends_the_process_and_is_named(variable: str, value: str) -> None:
    env = _environment() | {ENDPOINT: "http://127.0.0.1:9", "OTEL_TRACES_SAMPLER": "traceidratio", variable: value}
    done = _run("from shared import tracing; tracing.configure('worker')", env)
    assert done.returncode == 2
    assert done.stderr.startswith(f"halftone: {variable}: must be ")


def test_a_collector_without_the_packages_is_an_error_that_says_so() -> None:
    program = "import sys; sys.modules['opentelemetry'] = None; from shared import tracing; tracing.configure('worker')"
    done = _run(program, _environment() | {ENDPOINT: "http://127.0.0.1:9"})
    assert done.returncode == 2
    assert done.stderr.startswith(f"halftone: {ENDPOINT}: traces need the packages of OpenTelemetry")


@pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}, {ENDPOINT: ""}])
def test_it_can_be_switched_off(off: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ({ENDPOINT: "http://127.0.0.1:9"} | off).items():
        monkeypatch.setenv(name, value)
    assert not tracing.configure("worker")


def test_a_ratio_traces_that_share_of_requests_whole(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first bits of the half of a UUID that samplers look at are the same in all of them."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    tracing.configure("ingest")
    ids = [UUID(f"01900000-0000-7000-{0x8000 + number:x}-{number << 40:012x}") for number in range(256)]
    for request_id in ids:
        tracing.uploaded(request_id, seconds=1, route="/v1/requests", caller={}, attributes={})
        _work_on(DispatchRequest(request_id=request_id).model_dump(mode="json"))
    tracing.close()
    assert {span.trace for span in collector.spans} == {request_id.hex for request_id in ids[:64]}
    assert len(collector.spans) == 3 * 64


def test_what_follows_from_an_untraced_group_is_not_traced_and_a_traced_one_is(collector: Collector) -> None:
    tracing.configure("worker")
    request_id = uuid7()
    unsampled = f"00-{request_id.hex}-{'1' * 16}-00"
    batch = {"request_id": str(request_id), "run": 1}
    _work_on(batch | {"group": 3})
    _work_on(batch | {"group": 4}, traceparent=unsampled)
    _work_on(batch, traceparent=unsampled)
    _work_on(batch, traceparent=f"00-{uuid7().hex}-{'1' * 16}-01")  # another's trace: of a message put together wrongly
    tracing.close()
    assert {span.trace for span in collector.spans} == {request_id.hex}
    works = [span for span in collector.spans if span.name != "settle"]
    root = request_id.hex[16:]
    assert [(span.attributes.get("halftone.group"), span.parent) for span in works] == [(4, root), (None, root)]


def test_a_delivery_stays_in_the_trace_of_its_request_whoever_s_thread_it_is(collector: Collector) -> None:
    tracing.configure("notifier")
    mine, other = uuid7(), uuid7()
    delivery = Deliver(delivery_id=uuid7()).model_dump(mode="json")
    traced = tracing.current()
    assert traced is not None
    options = {"traceparent": f"00-{mine.hex}-{'a' * 16}-01"}
    message: dramatiq.Message[None] = dramatiq.Message("deliver", Deliver.actor, (delivery,), {}, options)
    middleware = TraceContext(traced)
    middleware.before_process_message(None, message)
    for request_id in (mine, other):
        with tracing.step_of(request_id, "POST", calls=True):
            pass
    middleware.after_process_message(None, message)
    tracing.close()
    assert [(span.trace, span.parent) for span in collector.spans] == [
        (mine.hex, "a" * 16),
        (other.hex, other.hex[16:]),
    ]


def test_a_message_of_nonsense_is_worked_on_and_an_exception_is_named_without_its_text(collector: Collector) -> None:
    tracing.configure("worker")
    _work_on({"request_id": 7, "group": "https://cdn.example/?sig=5eC_rE-t"}, traceparent="nonsense")
    _work_on({"request_id": str(uuid7()), "group": 1}, error=RuntimeError("https://cdn.example/?sig=5eC_rE-t"))
    tracing.close()
    [failed] = [span for span in collector.spans if span.failed]
    assert failed.attributes["error.type"] == "RuntimeError"
    assert not any(b"5eC_rE-t" in body for body in collector.raw)


def test_a_dead_collector_costs_one_log_line_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    [port] = reserve_ports(1)
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")
    with logging_as("text") as written:
        tracing.configure("worker")
        for _ in range(1000):
            with tracing.step_of(uuid7(), "finish"):
                pass
        deadline = time.monotonic() + 20
        while "traces_not_sent" not in written.getvalue() and time.monotonic() < deadline:
            time.sleep(0.05)
        tracing.close()
    assert [line.split()[2] for line in written.getvalue().splitlines()] == ["traces_not_sent"]


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}


def _run(program: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
