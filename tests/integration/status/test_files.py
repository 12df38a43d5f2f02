"""Image files over HTTP: which may be fetched, with which headers, and which are gone."""

from uuid import uuid4

import httpx
import pytest

from shared.blobs import Blobs, source_key
from shared.db import Database
from tests.integration.status import seed

CONTENT = bytes(range(256)) * 2000  # more than one chunk


@pytest.fixture
def key(blobs: Blobs) -> str:
    return seed.put_rendition(blobs, seed.completed(uuid4(), 1), CONTENT)


def test_rendition_is_immutable_and_cannot_run_as_a_page(client: httpx.Client, key: str) -> None:
    answer, head = client.get(f"/files/{key}"), client.head(f"/files/{key}")
    known = client.get(f"/files/{key}", headers={"If-None-Match": head.headers["etag"]})

    assert answer.content == CONTENT
    assert (head.status_code, head.content, known.status_code) == (200, b"", 304)
    assert head.headers["content-length"] == str(len(CONTENT))
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["content-length"] == str(len(CONTENT))
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["etag"] == f'"{key.rsplit("/", 1)[1].removesuffix(".jpg")}"'


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=300000-400000", 300_000, 400_000),
        ("bytes=511990-", 511_990, 511_999),
        ("bytes=-10", 511_990, 511_999),
        ("bytes=5-99999999", 5, 511_999),
    ],
)
def test_ranges(client: httpx.Client, key: str, wanted: str, first: int, last: int) -> None:
    answer = client.get(f"/files/{key}", headers={"Range": wanted})

    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {first}-{last}/512000"
    assert answer.content == CONTENT[first : last + 1]


def test_several_ranges_come_as_parts(client: httpx.Client, key: str) -> None:
    answer = client.get(f"/files/{key}", headers={"Range": "bytes=0-1,500000-500001"})

    assert answer.status_code == 206
    assert answer.headers["content-type"].startswith("multipart/byteranges")
    assert answer.content.count(b"Content-Type: image/jpeg") == 2


@pytest.mark.parametrize("wanted", ["bytes=512000-", "bytes=-0"])
def test_a_range_behind_the_end_is_416(client: httpx.Client, key: str, wanted: str) -> None:
    answer = client.get(f"/files/{key}", headers={"Range": wanted})

    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == "bytes */512000"


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=0-9", "If-Range": '"other"'},
        {"Range": "bytes=-"},
        {"Range": "bytes=9-8"},
        {"Range": "items=0-1"},
        {"Range": "bytes=x-y"},
        {"Range": "nonsense"},
    ],
)
def test_a_range_of_another_version_or_without_sense_is_ignored(
    client: httpx.Client, key: str, headers: dict[str, str]
) -> None:
    answer = client.get(f"/files/{key}", headers=headers)

    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_only_renditions_are_served(client: httpx.Client, blobs: Blobs) -> None:
    request_id, sha256 = uuid4(), seed.digest("source")
    blobs.put(source_key(request_id, sha256), b"<svg/>", durable=False)
    blobs.put(f"{request_id}/out/{sha256}.svg", b"<svg/>", durable=False)

    for key in (
        source_key(request_id, sha256),
        f"{request_id}/out/{sha256}.svg",
        f"{request_id}/out/{sha256}.jpg",
        f"{request_id}/out/..%2fsource%2f{sha256}",
        "",
        "..%2f..%2fetc/passwd",
    ):
        assert client.get(f"/files/{key}").status_code == 404


def test_source_is_served_as_what_was_decoded(database: Database, client: httpx.Client, blobs: Blobs) -> None:
    request = seed.request()
    image = seed.completed(request.id, 1, source_format="bmp")
    seed.add(database, [request, image])
    assert image.source_sha256 is not None
    blobs.put(source_key(request.id, image.source_sha256), CONTENT, durable=False)

    answer = client.get(f"/v1/requests/{request.id}/images/1/source")
    head = client.head(f"/v1/requests/{request.id}/images/1/source")

    assert answer.content == CONTENT
    assert answer.headers["content-type"] == "image/bmp"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(CONTENT)))


def test_deleted_sources_are_410(database: Database, client: httpx.Client, blobs: Blobs) -> None:
    swept, lost = seed.request(sources_deleted_at=seed.NOW), seed.request()
    seed.add(database, [swept, lost, seed.completed(swept.id, 1), seed.completed(lost.id, 1)])
    blobs.put(source_key(swept.id, seed.digest("source 1")), CONTENT, durable=False)

    for request in (swept, lost):
        answer = client.get(f"/v1/requests/{request.id}/images/1/source")
        assert (answer.status_code, answer.json()["code"]) == (410, "source_gone")


@pytest.mark.parametrize("number", ["0", "2", "x", "-1", "1.0", "99999999999999999999", "%C2%B2"])
def test_source_of_no_image_is_404(database: Database, client: httpx.Client, number: str) -> None:
    request = seed.request()
    seed.add(database, [request, seed.completed(request.id, 1)])

    assert client.get(f"/v1/requests/{request.id}/images/{number}/source").status_code == 404


def test_a_source_that_was_not_recognised_as_a_picture_is_not_served(
    database: Database, client: httpx.Client, blobs: Blobs
) -> None:
    request = seed.request()
    html = seed.failed(request.id, 1, code="not_an_image")
    html.source_sha256 = seed.digest("html")
    seed.add(database, [request, html, seed.pending(request.id, 2)])
    blobs.put(source_key(request.id, html.source_sha256), b"<html>", durable=False)

    for number in (1, 2):
        answer = client.get(f"/v1/requests/{request.id}/images/{number}/source")
        assert (answer.status_code, answer.json()["code"]) == (404, "no_source")
