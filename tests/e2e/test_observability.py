"""A real Prometheus scrapes a stack during a journey: dashboard and alerts have their data, and logs their ids."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from tests.api import Client
from tests.observability import CONFIG, RULES, dashboard, panels, program, queries, rules
from tests.origin import Origin, status
from tests.stack import Stack, reserve_ports, until

JOBS = ("ingest", "worker", "notifier", "status")
LARGEST = 60
"""Series of one metric of one process, buckets not counted."""
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-")


@pytest.fixture(scope="module")
def watched(workspace: Path, cluster: Path) -> Iterator[Stack]:
    """A stack that logs as the containers do."""
    env = {"HALFTONE_WORKERS": "2", "HALFTONE_LOG_FORMAT": "json"}
    with Stack(workspace / "watched", env=env, like=cluster) as stack:
        yield stack


@pytest.fixture(scope="module")
def request_id(watched: Stack) -> str:
    """A journey like the demo's: images that come and one that does not, and a webhook."""
    client = Client(watched.base_url)
    with Origin(port=watched.host_ports[0]) as origin:
        urls = [origin.add(f"/{number}.{kind}", draw(f"{number}.{kind}", (80, 60))) for number, kind in _names()]
        origin.on("/gone.jpg", status(404))
        origin.on("/hook", status(204))
        rows = manifest([("1", "Shoe", [*urls, origin.url("/gone.jpg")])])
        accepted = client.upload(rows, webhook_url=origin.url("/hook"))
        finished = client.finished(accepted["request_id"], within=60)
        assert finished["images"]["failed"] == 1
        until(lambda: origin.posts("/hook"))
    return str(accepted["request_id"])


def _names() -> Iterator[tuple[int, str]]:
    yield from ((number, kind) for number in range(12) for kind in ("jpg", "png", "webp"))


class Prometheus:
    """The real one, with our rules and jobs, scraping every second."""

    def __init__(self, folder: Path, targets: dict[str, list[str]]) -> None:
        [port] = reserve_ports(1)
        config = yaml.safe_load(CONFIG.read_text())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s", "scrape_timeout": "1s"}
        config["rule_files"] = [str(RULES)]
        for job in config["scrape_configs"]:
            del job["dns_sd_configs"]
            job["static_configs"] = [{"targets": targets[job["job_name"]]}]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._log = (folder / "prometheus.log").open("wb")
        command = [
            str(program("prometheus")),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30)

    def ask(self, expression: str) -> list[dict[str, Any]]:
        try:
            answer = self._http.get("/query", params={"query": expression})
        except httpx.TransportError:  # it is starting
            return []
        assert answer.status_code in {200, 503}, f"{expression}: {answer.text}"
        return list(answer.json()["data"]["result"]) if answer.status_code == 200 else []

    def rules(self) -> list[dict[str, Any]]:
        groups = self._http.get("/rules").json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def close(self) -> None:
        self._http.close()
        self._process.terminate()
        self._process.wait(20)
        self._log.close()


@pytest.fixture(scope="module")
def prometheus(watched: Stack, request_id: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    assert request_id
    ports = json.loads((watched.data_dir / "ports.json").read_text())
    targets = {job: [f"127.0.0.1:{ports[name]}" for name in ports if name.partition("-")[0] == job] for job in JOBS}
    started = Prometheus(tmp_path_factory.mktemp("prometheus"), targets)
    try:
        expected = sum(map(len, targets.values()))
        until(lambda: len(started.ask("sum_over_time(up[1m]) > 3")) == expected, within=60)
        yield started
    finally:
        started.close()


def test_every_query_of_the_dashboard_returns_data(prometheus: Prometheus) -> None:
    assert len(queries()) == sum(len(panel["targets"]) for panel in panels())
    asked = {name: query.replace("$__rate_interval", "1m") for name, query in queries().items()}
    assert {name: query for name, query in asked.items() if not prometheus.ask(query)} == {}


def test_every_alert_can_be_evaluated_and_none_fires_after_a_good_journey(prometheus: Prometheus) -> None:
    def evaluated() -> list[dict[str, Any]]:
        found = prometheus.rules()
        return found if all(rule["health"] != "unknown" for rule in found) else []

    seen = until(evaluated)
    assert {rule["name"]: rule["health"] for rule in seen} == {rule["alert"]: "ok" for rule in rules()}
    assert {rule["name"]: rule["state"] for rule in seen} == {rule["alert"]: "inactive" for rule in rules()}


def test_what_the_alerts_ask_for_is_there(prometheus: Prometheus) -> None:
    """An empty answer must mean that all is well, not that a metric is missing."""
    optional = {"halftone_messages_unsent_total"}  # has no series before the first
    named = {name for rule in rules() for name in re.findall(r"halftone_\w+", rule["expr"])} - optional
    assert {name for name in named if not prometheus.ask(name)} == set()


def test_no_label_holds_an_id_or_an_address_and_no_metric_has_many_series(prometheus: Prometheus) -> None:
    series = prometheus.ask('{__name__=~"halftone_.+", __name__!~".+_bucket"}')
    assert series
    values = [value for one in series for name, value in one["metric"].items() if name != "instance"]
    assert [value for value in values if UUID.search(value) or "://" in value] == []
    counted = prometheus.ask('count by (__name__, instance) ({__name__=~"halftone_.+", __name__!~".+_bucket"})')
    assert {one["metric"]["__name__"]: one["value"][1] for one in counted if float(one["value"][1]) > LARGEST} == {}


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """What its provisioning needs: a uid, and for each panel a place, a title and the provisioned source."""
    whole = dashboard()
    assert (whole["uid"], whole["title"], whole.get("id")) == ("halftone", "Halftone", None)
    assert len({panel["id"] for panel in whole["panels"]}) == len(whole["panels"])
    places = [tuple(panel["gridPos"].values()) for panel in whole["panels"]]
    assert len(set(places)) == len(places)
    assert {panel["datasource"]["uid"] for panel in panels()} == {"prometheus"}


def test_a_request_is_followed_through_the_logs_of_all_services(watched: Stack, request_id: str) -> None:
    Client(watched.base_url).request(request_id)

    def story() -> list[dict[str, Any]]:
        lines = [line.partition("{") for line in watched.log().splitlines() if request_id in line]
        found = [{"service": name.strip(" |"), **json.loads(brace + rest)} for name, brace, rest in lines if brace]
        return found if any(line["event"] == "delivery_attempted" for line in found) else []

    told = until(story)
    assert {line["request_id"] for line in told} == {request_id}
    events = {(line["service"].partition("-")[0], line["event"]) for line in told}
    assert events >= {
        ("ingest", "accepted"),
        ("worker", "dispatched"),
        ("worker", "images_failed"),
        ("notifier", "finished"),
        ("notifier", "delivery_attempted"),
        ("status", "answered"),
    }
    by_event = {line["event"]: line for line in told}
    assert by_event["dispatched"]["group"] == 1
    assert by_event["images_failed"]["images"] == {"http_status": [37]}
    assert by_event["accepted"]["id"]  # the X-Request-Id of the call
    assert by_event["delivery_attempted"]["delivery_id"]
