"""Blobs move from the folder to a bucket in the order of docs/bucket.md, with requests under way at each step."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from tests.api import Client
from tests.bucket import BUCKET, Bucket
from tests.origin import Origin
from tests.stack import ROOT, Stack

IMAGES = 60
TARGET = f"s3://{BUCKET}"


@pytest.fixture(scope="module")
def stack(workspace: Path, cluster: Path) -> Iterator[Stack]:
    with Stack(workspace / "moving", env={"HALFTONE_WORKERS": "2"}, like=cluster) as stack:
        yield stack


def test_every_file_is_served_at_every_step_and_the_folder_may_go(
    stack: Stack, api: Client, origin: Origin, bucket: Bucket
) -> None:
    for number in range(IMAGES):
        origin.add(f"/{number}.jpg", draw(f"{number}.jpg", (160, 120)))
    folder = stack.data_dir / "blobs"
    requests = [send(api, origin)]
    api.finished(requests[0])
    steps: list[dict[str, str]] = [
        {**bucket.env, "HALFTONE_BLOB_FALLBACK_URL": TARGET},
        {"BLOB_URL": TARGET, "HALFTONE_BLOB_FALLBACK_URL": folder.as_uri()},
    ]
    for step in steps:
        requests.append(send(api, origin))
        restart(stack, step)  # with that request under way
        assert_served(api, requests)
    requests.append(send(api, origin))
    done = copy(stack, folder.as_uri(), TARGET)
    assert (done.returncode, "0 failed" in done.stdout) == (0, True), done
    api.finished(requests[-1])
    deleted = requests.pop(0)
    api.call("DELETE", f"/v1/requests/{deleted}")
    restart(stack, {"HALFTONE_BLOB_FALLBACK_URL": ""})
    shutil.rmtree(folder)
    assert_served(api, requests)
    inner = bucket.connect()
    assert list(inner.keys(deleted)) == []
    assert {name for name in inner.folders() if name in requests} == set(requests)


def send(api: Client, origin: Origin) -> str:
    rows = [(str(number), f"Product {number}", [origin.url(f"/{number}.jpg")]) for number in range(IMAGES)]
    return str(api.upload(manifest(rows))["request_id"])


def restart(stack: Stack, settings: dict[str, str]) -> None:
    stack.stop()
    stack.env.update(settings)
    stack.start()


def assert_served(api: Client, requests: list[str]) -> None:
    for request_id in requests:
        assert api.finished(request_id)["images"]["completed"] == IMAGES
        urls = [image["output_url"] for image in api.items(f"/v1/requests/{request_id}/images")]
        with httpx.Client(follow_redirects=True) as http:
            assert [http.get(url).status_code for url in urls] == [200] * IMAGES


def copy(stack: Stack, *urls: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "shared.blobs.copy", *urls]
    env = {**os.environ, **stack.env}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=60)
