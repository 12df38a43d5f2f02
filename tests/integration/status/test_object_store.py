"""Other stores: an object store redirects to renditions, one that cannot be reached is 503, and files vanish."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from starlette.applications import Starlette

from shared.blobs import Blobs
from shared.blobs.disk import DiskBlobs
from shared.blobs.moving import MovingBlobs
from tests.bucket import SLOW_DOWN, Bucket, Fault
from tests.integration.status import seed


class Vanishing(DiskBlobs):
    """Deletes a file as soon as its size was read."""

    def size(self, key: str) -> int:
        found = super().size(key)
        self.delete(key)
        return found


@contextmanager
def served_from(app: Starlette, blobs: Blobs) -> Iterator[Blobs]:
    context = app.state.context
    before, context.blobs = context.blobs, blobs
    yield blobs
    context.blobs = before


@pytest.fixture
def in_bucket(app: Starlette, bucket: Bucket) -> Iterator[Blobs]:
    with served_from(app, bucket.connect()) as blobs:
        yield blobs


@pytest.mark.usefixtures("in_bucket")
def test_the_page_may_show_the_pictures_of_the_bucket(client: httpx.Client, bucket: Bucket) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert policy.endswith(f"img-src 'self' blob: {bucket.public_endpoint}")


def test_a_rendition_is_redirected_to_a_signed_url_that_outlives_the_redirect(
    client: httpx.Client, in_bucket: Blobs, bucket: Bucket
) -> None:
    key = seed.put_rendition(in_bucket, seed.completed(uuid4(), 1), b"content")
    bucket.calls.clear()

    answer = client.get(f"/files/{key}")

    assert answer.status_code == 307
    assert answer.headers["location"].startswith(f"{bucket.public_endpoint}/halftone/{key}?")
    assert "X-Amz-Expires=3600" in answer.headers["location"]
    assert answer.headers["cache-control"] == "private, max-age=1800"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert bucket.count == {"HeadObject": 1}
    bucket.clock = timedelta(seconds=1800 + 1790)  # whoever kept the redirect for as long as it may be kept
    assert httpx.get(answer.headers["location"]).content == b"content"


def test_a_redirect_does_not_outlive_credentials_that_are_lent(
    app: Starlette, client: httpx.Client, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = seed.put_rendition(bucket.connect(), seed.completed(uuid4(), 1), b"content")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "lent")
    with served_from(app, bucket.connect()):
        answer = client.get(f"/files/{key}")

    assert "X-Amz-Security-Token=lent" in answer.headers["location"]
    assert answer.headers["cache-control"] == "private, max-age=120"


def test_head_a_known_tag_and_a_range_are_answered_as_from_the_disk(client: httpx.Client, in_bucket: Blobs) -> None:
    key = seed.put_rendition(in_bucket, seed.completed(uuid4(), 1), b"content")

    head = client.head(f"/files/{key}")
    assert (head.status_code, head.headers["content-length"]) == (200, "7")
    assert head.headers["content-type"] == "image/jpeg"
    assert head.headers["cache-control"] == "public, max-age=31536000, immutable"
    known = client.get(f"/files/{key}", headers={"If-None-Match": head.headers["etag"]})
    assert (known.status_code, known.headers["etag"]) == (304, head.headers["etag"])
    part = client.get(f"/files/{key}", headers={"Range": "bytes=3-"}, follow_redirects=True)
    assert (part.status_code, part.content) == (206, b"tent")


@pytest.mark.usefixtures("in_bucket")
def test_a_missing_file_is_404_and_no_redirect(client: httpx.Client) -> None:
    for method in ("GET", "HEAD"):
        assert client.request(method, f"/files/{uuid4()}/out/{seed.digest('none')}.jpg").status_code == 404


def test_while_blobs_move_each_is_served_from_where_it_is(
    app: Starlette, client: httpx.Client, bucket: Bucket, tmp_path: Path
) -> None:
    on_disk = DiskBlobs(tmp_path)
    request = seed.completed(uuid4(), 1)
    key = seed.put_rendition(on_disk, request, b"content")
    for stores in ((bucket.connect(), on_disk), (on_disk, bucket.connect())):
        with served_from(app, MovingBlobs(*stores)):
            assert client.get(f"/files/{key}").content == b"content"
            assert bucket.public_endpoint in client.get("/").headers["content-security-policy"]
    bucket.connect().put(key, b"content")
    on_disk.delete(key)
    with served_from(app, MovingBlobs(on_disk, bucket.connect())):
        assert client.get(f"/files/{key}").status_code == 307


def test_a_store_that_cannot_be_reached_is_503(app: Starlette, client: httpx.Client, bucket: Bucket) -> None:
    bucket.faults.append(Fault("HeadObject", error=SLOW_DOWN, times=1_000))
    with served_from(app, bucket.connect(answer_seconds=0.2)):
        answer = client.get(f"/files/{uuid4()}/out/{seed.digest('none')}.jpg")

    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert answer.headers["retry-after"] == "5"


def test_a_file_that_is_deleted_while_it_is_asked_for_is_404(
    app: Starlette, client: httpx.Client, tmp_path: Path
) -> None:
    with served_from(app, Vanishing(tmp_path)) as blobs:
        key = seed.put_rendition(blobs, seed.completed(uuid4(), 1), b"content")

        assert client.get(f"/files/{key}").status_code == 404
