"""Renditions in a bucket whose server is reached through the gateway, by addresses that are signed for its host."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from shared.blobs import Blobs, output_key, source_key
from tests.bucket import Bucket
from tests.integration.gateway.conftest import Gateway, Upstream, caddy
from tests.integration.gateway.test_files import DATA, SHA
from tests.stack import reserve_ports

REQUEST = uuid4()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, s3_server: Bucket) -> Iterator[Gateway]:
    port, ingest_port, status_port = reserve_ports(3)
    ingest, status = Upstream("ingest", ingest_port), Upstream("status", status_port)
    folder = tmp_path_factory.mktemp("gateway")
    status.open()
    settings = {"HALFTONE_FILES_FROM": "bucket", "HALFTONE_BUCKET_UPSTREAM": f"127.0.0.1:{s3_server.port}"}
    with (
        caddy(folder, port, ingest=ingest_port, status=status_port, max_body="1MB", settings=settings),
        httpx.Client() as client,
    ):
        yield Gateway(f"http://127.0.0.1:{port}", folder, ingest, status, client)
    status.close()


@pytest.fixture
def blobs(bucket: Bucket, gateway: Gateway) -> Blobs:
    return bucket.connect("s3://halftone/folder", public_endpoint=gateway.url)


def _signed(blobs: Blobs, key: str) -> str:
    blobs.put(key, DATA)
    return str(blobs.signed_url(key, seconds=60))


def test_a_signed_address_of_a_rendition_leads_to_the_bucket(gateway: Gateway, blobs: Blobs) -> None:
    """With the key that a client sends again to the same host, too, which S3 would refuse."""
    url = _signed(blobs, output_key(REQUEST, SHA, "jpg"))
    answer = gateway.client.get(url, headers={"Authorization": "Bearer ht_key", "Cookie": "a=b"})
    assert (answer.status_code, answer.content) == (200, DATA)
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_wrong_signature_finds_nothing(gateway: Gateway, blobs: Blobs) -> None:
    url = _signed(blobs, output_key(REQUEST, SHA, "jpg"))
    answer = gateway.client.get(url[:-4] + "0000")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["Cache-Control"] == "no-store"


def test_nothing_but_renditions_gets_through(gateway: Gateway, blobs: Blobs, bucket: Bucket) -> None:
    signed = [_signed(blobs, key) for key in (source_key(REQUEST, SHA), f"{REQUEST}/out/{SHA}.svg", "store-id")]
    unsigned = _signed(blobs, output_key(REQUEST, SHA, "jpg")).partition("?")[0]
    bucket.calls.clear()
    assert [gateway.client.get(url).json()["service"] for url in (*signed, unsigned)] == ["status"] * 4
    assert not bucket.calls


def test_a_bucket_that_is_away_may_be_asked_again(gateway: Gateway, blobs: Blobs, tmp_path: Path) -> None:
    (nobody, port) = reserve_ports(2)
    settings = {"HALFTONE_FILES_FROM": "bucket", "HALFTONE_BUCKET_UPSTREAM": f"127.0.0.1:{nobody}"}
    path = _signed(blobs, output_key(REQUEST, SHA, "jpg")).removeprefix(gateway.url)
    with caddy(tmp_path, port, ingest=1, status=1, max_body="1MB", settings=settings):
        answer = gateway.client.get(f"http://127.0.0.1:{port}{path}")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
