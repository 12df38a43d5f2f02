"""A collector takes what a real stack says of its requests: one connected trace from the upload to the webhook."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from shared.lifecycle import IMAGES_PER_GROUP, QUICK_IMAGES
from tests.api import Client
from tests.collector import Collector, Span, collecting
from tests.origin import Origin, body, late, status
from tests.stack import Stack, reserve_ports, until

SECRET = "5eC_rE-t"
CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"
DONE = "process group_done"
CHILDREN = {
    ("POST /v1/requests", "store"),
    ("POST /v1/requests", "process dispatch_request"),
    ("process dispatch_request", "process quick_batch"),
    ("process dispatch_request", "process fetch_batch"),
    ("process quick_batch", "GET"),
    ("process quick_batch", "codec"),
    ("process quick_batch", "settle"),
    ("process fetch_batch", "GET"),
    ("process fetch_batch", "settle"),  # of an image that is not there
    ("process fetch_batch", "process compress_batch"),
    ("process compress_batch", "codec"),
    ("process compress_batch", "settle"),
    (DONE, "finish"),
    (DONE, "POST"),
}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced(workspace: Path, cluster: Path, collector: Collector) -> Iterator[Stack]:
    env = {
        "HALFTONE_LOG_FORMAT": "json",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with Stack(workspace / "traced", env=env, like=cluster) as stack:
        yield stack


@pytest.fixture
def origin(traced: Stack) -> Iterator[Origin]:
    with Origin(port=traced.host_ports[0]) as origin:
        origin.on("/hook", status(204))
        yield origin


def _upload(stack: Stack, origin: Origin, urls: list[str]) -> str:
    rows = manifest([(str(at), "Shoe", urls[at : at + 50]) for at in range(0, len(urls), 50)])
    headers = {"Content-Type": "text/csv", "traceparent": f"00-{CALLER}-00f067aa0ba902b7-00"}
    api, query = Client(stack.base_url), urlencode({"webhook_url": origin.url(f"/hook?key={SECRET}")})
    answer = api.call("POST", f"/v1/requests?{query}", body=rows, headers=headers)
    request_id = str(json.loads(answer)["request_id"])
    api.finished(request_id, within=60)
    until(lambda: origin.posts("/hook"))
    return request_id


def _whole(collector: Collector, request_id: str) -> list[Span]:
    """The trace once its webhook is in it, and everything that began before."""

    def whole() -> list[Span]:
        spans = collector.trace(request_id)
        known = {span.id for span in spans}
        ended = {"POST", "finish"} <= {span.name for span in spans}
        return spans if ended and all(span.parent in known for span in spans if span.parent) else []

    return until(whole, within=15)


def _parents(spans: list[Span]) -> Counter[tuple[str, str]]:
    by_id = {span.id: span for span in spans}
    return Counter((by_id[span.parent].name, span.name) for span in spans if span.parent)


def test_an_upload_is_one_connected_trace_up_to_its_webhook(
    traced: Stack, origin: Origin, collector: Collector
) -> None:
    small = draw("a.jpg", (80, 60))
    urls = [f"{origin.add(f'/{number}.jpg', small)}?X-Amz-Signature={SECRET}" for number in range(QUICK_IMAGES + 16)]
    origin.on("/gone.jpg", status(404))
    request_id = _upload(traced, origin, [*urls, origin.url("/gone.jpg")])
    spans = _whole(collector, request_id)
    [root] = [span for span in spans if not span.parent]
    assert (root.name, root.kind, root.service) == ("POST /v1/requests", "SERVER", "halftone-ingest")
    assert root.links == (CALLER,)
    assert root.id == request_id.replace("-", "")[16:]

    parents = _parents(spans)
    last = {pair for pair in parents if pair[1] == DONE}
    assert last <= {("process quick_batch", DONE), ("process compress_batch", DONE)}  # whichever was last
    assert set(parents) - last == CHILDREN
    assert parents[DONE, "finish"] == parents[DONE, "POST"] == 1
    assert {span.service for span in spans} == {"halftone-ingest", "halftone-worker", "halftone-notifier"}

    [gone] = [span for span in spans if span.name == "GET" and span.failed]
    assert gone.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 404,
        "url.full": origin.url("/gone.jpg"),
        "server.address": "127.0.0.1",
        "server.port": origin.port,
        "error.type": "http_status",
        "halftone.image": len(urls) + 1,
    }
    [posted] = [span for span in spans if span.name == "POST"]
    assert (posted.kind, posted.attributes["http.response.status_code"]) == ("CLIENT", 204)
    assert len([span for span in spans if span.name == "codec"]) == len(urls)
    assert not any(SECRET.encode() in sent for sent in collector.raw)
    assert "traceparent" not in {name.lower() for name in origin.posts("/hook")[0].headers}


def test_log_lines_name_the_trace(traced: Stack, origin: Origin) -> None:
    request_id = _upload(traced, origin, [origin.add("/a.jpg", draw("a.jpg", (80, 60)))])

    def story() -> list[dict[str, str]]:
        lines = [line for line in traced.log().splitlines() if request_id in line and not line.startswith("status")]
        found = [json.loads(line[line.index("{") :]) for line in lines]
        return found if any(line["event"] == "delivery_attempted" for line in found) else []

    told = until(story)
    assert {"accepted", "dispatched", "finished"} <= {line["event"] for line in told}
    assert {line["trace_id"] for line in told} == {request_id.replace("-", "")}


def test_a_trace_goes_on_where_a_worker_was_killed_and_the_sweeper_sent_again(
    traced: Stack, origin: Origin, collector: Collector
) -> None:
    small = draw("a.jpg", (80, 60))
    count = QUICK_IMAGES + 16
    for number in range(count):
        origin.on(f"/slow/{number}.jpg", late(body(small), seconds=2))
    urls = [origin.url(f"/slow/{number}.jpg") for number in range(count)]
    api = Client(traced.base_url)
    rows = manifest([(str(at), "Shoe", urls[at : at + 50]) for at in range(0, count, 50)])
    traced.kill("notifier", signal.SIGSTOP)
    request_id = str(api.upload(rows, webhook_url=origin.url("/hook"))["request_id"])
    until(lambda: any(origin.hits(f"/slow/{number}.jpg") for number in range(count)))
    for name in traced.names("worker"):
        traced.kill(name)
    traced.restart("valkey", signal.SIGKILL)  # nothing of the first messages is left
    traced.kill("notifier", signal.SIGCONT)
    api.finished(request_id, within=200)
    until(lambda: origin.posts("/hook"))
    spans = _whole(collector, request_id)
    [root] = [span for span in spans if not span.parent]
    again = [span for span in spans if span.name == "process dispatch_group" and span.parent == root.id]
    assert again, "the sweeper's message is a child of the upload"
    assert len([span for span in spans if span.name == "codec"]) == count


def test_of_a_large_request_some_groups_are_traced(traced: Stack, origin: Origin, collector: Collector) -> None:
    small = draw("a.jpg", (16, 12))
    urls = [origin.add(f"/{number}.jpg", small) for number in range(7 * IMAGES_PER_GROUP)]
    request_id = _upload(traced, origin, urls)
    spans = _whole(collector, request_id)
    assert {span.attributes["halftone.group"] for span in spans if "halftone.group" in span.attributes} == {1, 2, 4}
    assert max(span.attributes["halftone.image"] for span in spans if span.name == "GET") == 4 * IMAGES_PER_GROUP


def test_what_is_left_is_sent_when_a_process_ends(workspace: Path, cluster: Path) -> None:
    with collecting() as collector:
        never = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "600000"}
        with Stack(workspace / "ending", env=never, like=cluster) as stack, Origin(port=stack.host_ports[0]) as origin:
            origin.on("/hook", status(204))
            request_id = _upload(stack, origin, [origin.add("/a.jpg", draw("a.jpg", (80, 60)))])
            until(lambda: "delivery_attempted" in stack.log())
            assert collector.raw == []
        assert {"POST /v1/requests", "GET", "codec", "POST"} <= {span.name for span in _whole(collector, request_id)}


def test_a_collector_that_is_away_harms_nothing_and_is_a_line_of_each_service(workspace: Path, cluster: Path) -> None:
    [port] = reserve_ports(1)
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "100"}
    env["OTEL_EXPORTER_OTLP_TIMEOUT"] = "1"
    with Stack(workspace / "alone", env=env, like=cluster) as stack, Origin(port=stack.host_ports[0]) as origin:
        origin.on("/hook", status(204))
        _upload(stack, origin, [origin.add("/a.jpg", draw("a.jpg", (80, 60)))])
        said = until(lambda: found if len(found := _lines(stack, "traces_not_sent")) == 3 else [], within=30)
    assert {line.partition(" ")[0] for line in said} == {"ingest", "worker-1", "notifier"}
    assert len(_lines(stack, "traces_")) == 3
    assert not _lines(stack, "opentelemetry")


def _lines(stack: Stack, word: str) -> list[str]:
    return [line for line in stack.log().splitlines() if word in line]
