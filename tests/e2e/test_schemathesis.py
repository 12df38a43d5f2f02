"""schemathesis with all its checks against the document that the service gives out, through the gateway."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from services.status.openapi.calls import CALLS
from tests.e2e.conftest import bearer, new_key
from tests.openapi import undescribed
from tests.origin import Origin
from tests.stack import Stack, until

CONFIG = Path(__file__).with_suffix(".toml")
WITHIN = 240
EXAMPLES = 3
"""For each call and phase; besides, the coverage phase tries each border of each schema: some 1,300 cases in all."""


def finished(stack: Stack, headers: Mapping[str, str]) -> dict[str, str]:
    """The ids of a finished request, its rendition and its delivery, and of a finished one that may be deleted."""
    with (
        Origin(host=stack.host, bind=stack.host, port=stack.host_ports[0]) as origin,
        httpx.Client(base_url=stack.base_url, headers=headers) as http,
    ):
        body = manifest([("1", "Shoe", [origin.add("/shoe.jpg", draw("shoe.jpg", (160, 120)))])])
        form = {"webhook_url": f"http://{stack.hosts[0]}/hook"}
        kept, other = (http.post("/v1/requests", files={"file": ("a.csv", body)}, data=form).json() for _ in range(2))
        for one in (kept, other):
            path = f"/v1/requests/{one['request_id']}"
            until(lambda path=path: http.get(path).json()["status"] == "completed", within=60)  # type: ignore[misc]
        path = f"/v1/requests/{kept['request_id']}"
        [image] = http.get(f"{path}/images").json()["items"]
        [delivery] = until(lambda: http.get(f"{path}/deliveries").json()["items"], within=30)
    name = image["output_url"].rpartition("/")[2]
    ids = {"REQUEST_ID": kept["request_id"], "OTHER_REQUEST_ID": other["request_id"]}
    return ids | {"NAME": name, "DELIVERY_ID": delivery["id"]}


def answers(report: Path) -> Iterator[tuple[str, int, bytes]]:
    """Every answer: to which call, its status, and its body if that is JSON."""
    for event in map(json.loads, report.read_text().splitlines()):
        recorder = event.get("ScenarioFinished", {}).get("recorder", {})
        for name, interaction in recorder.get("interactions", {}).items():
            call = f"{interaction['request']['method'].lower()} {recorder['cases'][name]['value']['path']}"
            if answer := interaction["response"]:
                is_json = any("json" in value for value in answer["headers"].get("content-type", ()))
                body = base64.b64decode(answer["content"]["$base64"]) if is_json else b""
                yield call, answer["status_code"], body


def fuzz(stack: Stack, made: Mapping[str, str], headers: Mapping[str, str]) -> None:
    """Every call is made, does what the document says, and succeeds at least once."""
    report = stack.data_dir / "schemathesis.ndjson"
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)]
    command += ["run", f"{stack.base_url}/openapi.json", "--checks", "all", "--seed", "1", "--warnings", "off"]
    command += ["--max-examples", str(EXAMPLES), "--generation-database", "none", "--max-redirects", "0"]
    command += ["--continue-on-failure", "--request-timeout", "10", "--no-color"]
    command += ["--report-ndjson-path", str(report)]
    command += [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    done = subprocess.run(
        command,
        cwd=stack.data_dir,
        env=os.environ | made,
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert f"Tested: {len(CALLS)}" in " ".join(done.stdout.split())
    calls = {call for _, call, _, _ in CALLS.values()}
    given = list(answers(report))
    done_well = {call for call, status, _ in given if 200 <= status < 300 or status == 307}  # a file in a bucket
    assert calls - done_well == set()
    document = httpx.get(f"{stack.base_url}/openapi.json").json()
    known = {one for one in given if one[0] in calls and one[2]}
    assert len({(call, status) for call, status, _ in known}) > len(calls)
    assert {
        wrong for call, status, body in known for wrong in undescribed(document, call, status, json.loads(body))
    } == set()


def test_the_api_does_what_its_document_says(stack: Stack) -> None:
    other = new_key(stack, "default", "read")
    headers = bearer(stack)
    fuzz(stack, finished(stack, headers) | {"OTHER_KEY_ID": other.split("_")[1]}, headers)


def test_it_does_so_where_keys_are_required(closed: Stack) -> None:
    headers = {"Authorization": f"Bearer {new_key(closed, 'fuzzed', 'read,write,admin')}"}
    other = new_key(closed, "fuzzed", "read")
    fuzz(closed, finished(closed, headers) | {"OTHER_KEY_ID": other.split("_")[1]}, headers)
