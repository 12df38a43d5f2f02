"""The whole journey with blobs in a bucket, on a stack of its own."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import decode, draw
from tests.api import Client
from tests.bucket import BUCKET, SLOW_DOWN, Bucket, Fault
from tests.origin import Origin
from tests.stack import Stack, until

IMAGES = 40


@pytest.fixture(scope="module")
def stack(workspace: Path, cluster: Path, s3_server: Bucket) -> Iterator[Stack]:
    s3_server.empty()
    env = {**s3_server.env, "BLOB_URL": f"s3://{BUCKET}/halftone", "HALFTONE_WORKERS": "2"}
    with Stack(workspace / "bucket", env=env, like=cluster) as stack:
        yield stack


@pytest.fixture
def urls(origin: Origin) -> list[str]:
    for number in range(IMAGES):
        origin.add(f"/{number}.jpg", draw(f"{number}.jpg", (320, 240)))
    return [origin.url(f"/{number}.jpg") for number in range(IMAGES)]


def send(api: Client, urls: list[str]) -> str:
    return str(api.upload(manifest((str(n), f"Product {n}", [url]) for n, url in enumerate(urls)))["request_id"])


def test_every_image_goes_through_the_bucket_with_two_puts_and_a_get(
    stack: Stack, api: Client, http: httpx.Client, urls: list[str], s3_server: Bucket
) -> None:
    s3_server.calls.clear()
    request_id = send(api, urls)
    assert api.finished(request_id)["outcome"] == "success"
    assert {name: s3_server.count[name] for name in ("PutObject", "GetObject", "HeadObject", "Multipart")} == {
        "PutObject": 2 * IMAGES,
        "GetObject": IMAGES,
        "HeadObject": 0,
        "Multipart": 0,
    }
    image = next(api.items(f"/v1/requests/{request_id}/images"))
    answer = http.get(image["output_url"], follow_redirects=True)
    assert [each.status_code for each in answer.history] == [307]
    assert str(answer.url).startswith(s3_server.public_endpoint)
    assert decode(answer.content).size == (320, 240)
    source = http.get(f"/v1/requests/{request_id}/images/{image['number']}/source")
    assert len(source.content) == image["source"]["bytes"]
    archive = zipfile.ZipFile(io.BytesIO(http.get(f"/v1/requests/{request_id}/outputs.zip").content))
    assert (len(archive.namelist()), archive.testzip()) == (IMAGES, None)

    # The gateway has no folder from which it could serve one.
    assert "halftone-blobs" not in {path.name for path in stack.data_dir.iterdir()}
    assert list((stack.data_dir / "blobs").glob("*-*")) == []


def test_a_bucket_that_slows_down_loses_and_delays_loses_nothing(
    api: Client, http: httpx.Client, urls: list[str], s3_server: Bucket
) -> None:
    s3_server.faults += [
        Fault("PutObject", error=SLOW_DOWN, times=15),
        Fault("PutObject", lost=True, times=15),
        Fault("GetObject", error=(500, "InternalError"), times=10),
        Fault("GetObject", lost=True, times=5),
    ]
    finished = api.finished(send(api, urls), within=60)
    assert finished["outcome"] == "success"
    assert finished["images"]["completed"] == IMAGES
    assert not any(fault.times for fault in s3_server.faults)
    outputs = [image["output_url"] for image in api.items(f"/v1/requests/{finished['request_id']}/images")]
    assert all(http.get(url, follow_redirects=True).status_code == 200 for url in outputs)


def test_a_deleted_request_leaves_nothing_in_the_bucket(api: Client, urls: list[str], s3_server: Bucket) -> None:
    request_id = send(api, urls)
    api.finished(request_id)
    blobs = s3_server.connect(f"s3://{BUCKET}/halftone")
    assert len(list(blobs.keys(request_id))) == 2 * IMAGES
    api.call("DELETE", f"/v1/requests/{request_id}")
    until(lambda: not list(blobs.keys(request_id)))
