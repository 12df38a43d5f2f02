"""Renditions from the blob folder, and nothing else from it."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from shared.blobs.store import STORE_ID
from tests.integration.gateway.conftest import Gateway
from tests.stack import ROOT

SHA = "0123456789abcdef" * 4
DATA = b"pretend that this is a picture"


@pytest.fixture(scope="module")
def request_id(gateway: Gateway) -> str:
    name = str(uuid4())
    for path in (f"out/{SHA}.jpg", f"out/{SHA}.avif", f"out/{SHA}.svg", f"source/{SHA}", f"source/{SHA}.jpg"):
        file = gateway.blobs / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(DATA)
    return name


def test_a_rendition_is_cached_for_ever_and_cannot_run_as_a_page(gateway: Gateway, request_id: str) -> None:
    answer = gateway.get(f"/files/{request_id}/out/{SHA}.jpg")
    assert answer.content == DATA
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Request-Id"]
    assert gateway.get(f"/files/{request_id}/out/{SHA}.avif").headers["Content-Type"] == "image/avif"


def test_the_etag_is_the_hash_and_spares_the_second_download(gateway: Gateway, request_id: str) -> None:
    path = f"/files/{request_id}/out/{SHA}.jpg"
    assert gateway.get(path).headers["ETag"] == f'"{SHA}"'
    assert gateway.get(path, If_None_Match=f'"{SHA}"').status_code == 304


def test_a_range_is_served(gateway: Gateway, request_id: str) -> None:
    answer = gateway.get(f"/files/{request_id}/out/{SHA}.jpg", Range="bytes=2-5")
    assert (answer.status_code, answer.content) == (206, DATA[2:6])


@pytest.mark.parametrize(
    "path",
    [
        f"/source/{SHA}",
        f"/source/{SHA}.jpg",
        f"/out/{SHA}.svg",
        f"/out/{'0' * 64}.jpg",
        f"/out/../source/{SHA}.jpg",
        f"/out/%2e%2e/source/{SHA}.jpg",
        "/out/",
        "/",
    ],
)
def test_nothing_else_of_the_folder_is_served(gateway: Gateway, request_id: str, path: str) -> None:
    url = httpx.URL(gateway.url).copy_with(raw_path=f"/files/{request_id}{path}".encode())
    answer = gateway.client.get(url)
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "ETag" not in answer.headers


def test_the_id_of_the_store_is_not_served(gateway: Gateway) -> None:
    (gateway.blobs / STORE_ID).write_text("0198c0de-0000-7000-8000-000000000000")
    assert gateway.get(f"/files/{STORE_ID}").status_code == 404


def test_a_file_can_only_be_read(gateway: Gateway, request_id: str) -> None:
    for method in ("POST", "DELETE"):
        answer = gateway.client.request(method, f"{gateway.url}/files/{request_id}/out/{SHA}.jpg")
        assert answer.status_code == 405
        assert answer.headers["Allow"] == "GET, HEAD"


def test_a_404_is_not_kept_a_rendition_may_come_later(gateway: Gateway, request_id: str) -> None:
    missing = f"/files/{request_id}/out/{'1' * 64}.jpg"
    assert gateway.get(missing).headers["Cache-Control"] == "no-store"
    (gateway.blobs / request_id / "out" / f"{'1' * 64}.jpg").write_bytes(DATA)
    assert gateway.get(missing, If_None_Match=f'"{SHA}"').content == DATA


def test_a_range_behind_the_end_is_a_problem_and_not_kept_either(gateway: Gateway, request_id: str) -> None:
    answer = gateway.get(f"/files/{request_id}/out/{SHA}.jpg", Range="bytes=5000-")
    assert answer.status_code == 416
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Content-Range"] == f"bytes */{len(DATA)}"
    assert answer.json()["code"] == "range_not_satisfiable"
    assert answer.headers["X-Request-Id"]
    assert "immutable" not in answer.headers.get("Cache-Control", "")
    assert "ETag" not in answer.headers


def test_files_come_from_the_folder_only_where_nothing_says_that_blobs_are_elsewhere() -> None:
    """docker-compose.yml leaves the setting empty where BLOB_URL is not set."""
    served = {files_from: "file_server" in adapted(files_from) for files_from in ("", "disk", "status")}
    assert served == {"": True, "disk": True, "status": False}


def adapted(files_from: str) -> str:
    caddy = str(Path(sys.executable).parent / "caddy")
    command = [caddy, "adapt", "--config", str(ROOT / "deploy/gateway/Caddyfile"), "--adapter", "caddyfile"]
    env = {**os.environ, "HALFTONE_FILES_FROM": files_from, "HALFTONE_BLOB_DIR": "/blobs"}
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
