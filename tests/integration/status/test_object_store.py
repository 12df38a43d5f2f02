"""Other stores: an object store redirects to renditions, one that cannot be reached is 503, and files vanish."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from starlette.applications import Starlette

from shared.blobs import Blobs
from shared.blobs.disk import DiskBlobs
from shared.errors import StorageError
from tests.integration.status import seed


class Elsewhere(DiskBlobs):
    """Signs, as object stores do."""

    def signed_url(self, key: str, *, seconds: float) -> str:  # type: ignore[override]
        return f"https://bucket.example/{key}?expires={seconds:g}"


class Away(Elsewhere):
    def size(self, key: str) -> int:
        raise StorageError(f"{key}: the bucket does not answer.")


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
def elsewhere(app: Starlette, tmp_path: Path) -> Iterator[Blobs]:
    with served_from(app, Elsewhere(tmp_path)) as blobs:
        yield blobs


@pytest.mark.usefixtures("elsewhere")
def test_the_page_may_show_the_pictures_of_the_bucket(client: httpx.Client) -> None:
    assert client.get("/").headers["content-security-policy"].endswith("img-src 'self' blob: https://bucket.example")


def test_a_rendition_is_redirected_to_a_signed_url(client: httpx.Client, elsewhere: Blobs) -> None:
    key = seed.put_rendition(elsewhere, seed.completed(uuid4(), 1), b"content")

    answer = client.get(f"/files/{key}")

    assert answer.status_code == 302
    assert answer.headers["location"] == f"https://bucket.example/{key}?expires=3600"
    assert answer.headers["cache-control"] == "private, max-age=1800"


def test_a_missing_file_is_404_and_no_redirect(client: httpx.Client, elsewhere: Blobs) -> None:
    assert client.get(f"/files/{uuid4()}/out/{seed.digest('none')}.jpg").status_code == 404


def test_a_store_that_cannot_be_reached_is_503(app: Starlette, client: httpx.Client, tmp_path: Path) -> None:
    with served_from(app, Away(tmp_path)):
        answer = client.get(f"/files/{uuid4()}/out/{seed.digest('none')}.jpg")

    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert answer.headers["retry-after"] == "5"


def test_a_file_that_is_deleted_while_it_is_asked_for_is_404(
    app: Starlette, client: httpx.Client, tmp_path: Path
) -> None:
    with served_from(app, Vanishing(tmp_path)) as blobs:
        key = seed.put_rendition(blobs, seed.completed(uuid4(), 1), b"content")

        assert client.get(f"/files/{key}").status_code == 404
