"""Uploads and calls that are not quite right, over HTTP."""

import encodings
import socket
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.integration.ingest.conftest import Sql
from tests.integration.ingest.test_accept import CSV, HEADER


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]
    body = answer.json()
    assert body["status"] == answer.status_code
    return answer.status_code, body["code"]


each_way = pytest.mark.parametrize("how", ["query", "form", "json"])
JSON = "application/json"
FORM = "multipart/form-data; boundary=x"
OPEN_PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


@pytest.mark.parametrize(
    ("media_type", "body", "refusal"),
    [
        ("application/xml", CSV.encode(), (415, "unsupported_media_type")),
        ("text/html", CSV.encode(), (415, "unsupported_media_type")),
        ("", CSV.encode(), (415, "unsupported_media_type")),
        ("application/x-www-form-urlencoded", CSV.encode(), (415, "unsupported_media_type")),
        ("multipart/form-data", b"--x\r\n", (400, "malformed")),
        (FORM, b"no boundary at all", (400, "malformed")),
        (FORM, OPEN_PART, (400, "malformed")),
        (JSON, b"{", (400, "malformed")),
        (JSON, b"[]", (400, "malformed")),
        (JSON, b'{"products": 5}', (400, "malformed")),
        (JSON, b'{"products": ["\xff"]}', (400, "malformed")),
        (JSON, b'{"products": ["' + b"x" * 200_000 + b'"]}', (413, "too_large")),
        ("text/csv", b"", (422, "invalid_manifest")),
        ("text/csv", bytes(range(256)) * 50, (422, "invalid_manifest")),
    ],
)
def test_bodies_that_are_refused(client: httpx.Client, media_type: str, body: bytes, refusal: tuple[int, str]) -> None:
    answer = client.post("/v1/requests", content=body, headers={"Content-Type": media_type})
    assert problem(answer) == refusal


@pytest.mark.parametrize("params", [{}, {"validate_only": "true"}])
@pytest.mark.parametrize(
    ("form", "refusal"),
    [
        ({"files": {"file": ("a.csv", b"PK\x03\x04rest")}}, (415, "unsupported_media_type")),
        ({"files": {"file": ("a.csv", b"%PDF-1.4\n")}}, (415, "unsupported_media_type")),
        ({"files": {"file": ("a.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")}}, (415, "unsupported_media_type")),
        ({"files": {"file": ("a.csv", b"x" * 1_000_001)}}, (413, "too_large")),
        ({"files": {"other": ("products.csv", CSV)}}, (400, "missing_file")),
        ({"files": {"other": ("", b"")}, "data": {"file": "text"}}, (400, "missing_file")),
        ({"files": {"file": ("", b"")}}, (400, "missing_file")),
    ],
)
def test_forms_that_are_refused(
    client: httpx.Client, form: dict[str, Any], params: dict[str, str], refusal: tuple[int, str]
) -> None:
    assert problem(client.post("/v1/requests", **form, params=params)) == refusal


@pytest.mark.parametrize("names", [("file", "file"), ("file", "csvFile"), ("file", "other"), ("other", "another")])
@pytest.mark.parametrize("path", ["/v1/requests", "/upload"])
def test_two_files_in_one_form_are_400(client: httpx.Client, path: str, names: tuple[str, str], sql: Sql) -> None:
    answer = client.post(path, files=[(name, (f"{number}.csv", CSV)) for number, name in enumerate(names)])
    assert problem(answer) == (400, "several_files")
    assert "0.csv" in answer.json()["detail"]
    assert "1.csv" in answer.json()["detail"]
    assert sql("SELECT id FROM processing_request") == []


def test_a_file_field_that_was_left_empty_does_not_count(client: httpx.Client) -> None:
    files = [("csv_file", ("", b"")), ("file", ("a.csv", CSV.encode()))]
    assert client.post("/v1/requests", files=files, data={"csvFile": ""}).status_code == 202


def test_a_form_without_its_closing_boundary_ended_early(client: httpx.Client, sql: Sql) -> None:
    for rest in (b"", b'--x\r\nContent-Disposition: form-data; name="quality"\r\n\r\n6'):
        content = OPEN_PART + CSV.encode() + b"\r\n" + rest
        answer = client.post("/v1/requests", content=content, headers={"Content-Type": FORM})
        assert problem(answer) == (400, "malformed")
        assert "ended early" in answer.json()["detail"]
    assert sql("SELECT id FROM processing_request") == []


@pytest.mark.parametrize("charset", ["iso-8859-2", "utf-7", "shift_jis", "rot13", "no-such", '" "'])
def test_an_unsupported_charset_is_415_and_the_supported_ones_are_listed(client: httpx.Client, charset: str) -> None:
    media_type = f"text/csv; charset={charset}"
    for answer in (
        client.post("/v1/requests", content=CSV.encode(), headers={"Content-Type": media_type}),
        client.post("/v1/requests", files={"file": ("a.csv", CSV.encode(), media_type)}),
    ):
        assert problem(answer) == (415, "unsupported_charset")
        assert "UTF-8" in answer.json()["detail"]


@pytest.mark.parametrize(
    "form_type",
    [f"{FORM}; charset=no-such", 'multipart/form-data; Charset="no-such"; boundary=x', f"{FORM}; charset*=''undefined"],
)
def test_a_charset_of_the_whole_form_means_nothing(client: httpx.Client, form_type: str) -> None:
    content = OPEN_PART + CSV.encode() + b'\r\n--x\r\nContent-Disposition: form-data; name="quality"\r\n\r\n60\r\n--x--'
    answer = client.post("/v1/requests", content=content, headers={"Content-Type": form_type})
    assert answer.json()["options"]["quality"] == 60
    assert not [name for name in encodings._cache if name.startswith("no_such")], "Python remembers the name"


@pytest.mark.parametrize(
    "charset", ["utf-8", "UTF8", "utf 8", "utf-16", "us-ascii", '"ISO-8859-1"', "iso.8859.1", "windows-1252", ""]
)
def test_a_supported_charset_is_accepted(client: httpx.Client, charset: str) -> None:
    media_type = f"text/csv; charset={charset}; header=present"
    assert client.post("/v1/requests", content=CSV.encode(), headers={"Content-Type": media_type}).status_code == 202
    assert client.post("/v1/requests", files={"file": ("a.csv", CSV.encode(), media_type)}).status_code == 202


@pytest.mark.parametrize(
    "product",
    [
        5,
        None,
        {},
        {"serial_number": "1", "name": "n", "image_urls": "https://a.example/1.jpg"},
        {"serial_number": "1", "name": "n", "image_urls": [5]},
        {"serial_number": "1", "name": "n", "image_urls": []},
        {"serial_number": "1", "name": None, "image_urls": ["https://a.example/1.jpg"]},
        {"serial_number": True, "name": "n", "image_urls": ["https://a.example/1.jpg"]},
        {"serial_number": "1", "name": "n\u0000", "image_urls": ["https://a.example/1.jpg"]},
    ],
)
def test_wrong_json_products_are_422_by_row(client: httpx.Client, product: Any) -> None:
    answer = client.post("/v1/requests", json={"products": [product]})
    assert problem(answer) == (422, "invalid_manifest")
    assert {error["row"] for error in answer.json()["errors"]} == {1}


def test_json_without_products_is_422(client: httpx.Client) -> None:
    answer = client.post("/v1/requests", json={"products": []})
    assert answer.json()["errors"][0]["code"] == "no_rows"
    assert "header" not in answer.json()["detail"]


def sent_as(client: httpx.Client, how: str, options: dict[str, Any], path: str = "/v1/requests") -> httpx.Response:
    if how == "json":
        product = {"serial_number": "1", "name": "n", "image_urls": ["https://a.example/1.jpg"]}
        return client.post(path, json={"products": [product], **options})
    query, form = (options, {}) if how == "query" else ({}, options)
    return client.post(path, files={"file": ("a.csv", HEADER + "1,n,https://a.example/1.jpg")}, params=query, data=form)


@each_way
@pytest.mark.parametrize("word", ["true", "1", "YES", "on"])
def test_validate_only_stores_nothing(client: httpx.Client, how: str, word: str, sql: Sql) -> None:
    answer = sent_as(client, how, {"validate_only": word})
    assert answer.status_code == 200
    assert answer.json() == {"valid": True, "products": 1, "images": 1, "errors": [], "error_count": 0}
    assert sql("SELECT id FROM processing_request") == []


def test_validate_only_in_json_is_a_boolean_too(client: httpx.Client) -> None:
    assert sent_as(client, "json", {"validate_only": True}).status_code == 200
    for no in (False, None):
        assert sent_as(client, "json", {"validate_only": no}).status_code == 202


@each_way
@pytest.mark.parametrize(
    ("name", "value", "code", "reason"),
    [
        *(("validate_only", unclear, "invalid_option", "validate_only") for unclear in ("t", "maybe", "", " ", "2")),
        ("quality", "96", "invalid_option", "quality"),
        ("qualitty", "60", "unknown_option", "'qualitty'; the options are quality"),
    ],
)
def test_a_wrong_option_is_422_and_nothing_is_stored(
    client: httpx.Client, how: str, sql: Sql, name: str, value: str, code: str, reason: str
) -> None:
    answer = sent_as(client, how, {name: value})
    assert problem(answer) == (422, code)
    assert reason in answer.json()["detail"]
    assert sql("SELECT id FROM processing_request") == []


@each_way
@pytest.mark.parametrize(("path", "status"), [("/upload", 200), ("/api/upload-csv/", 202)])
def test_the_older_contracts_have_a_status_of_their_own_and_ignore_unknown_options(
    client: httpx.Client, sql: Sql, path: str, status: int, how: str
) -> None:
    hook = "https://receiver.example/hook"  # not our own address, which is refused
    answer = sent_as(client, how, {"qualitty": "60", "validate_only": "maybe", "webhookUrl": hook}, path)
    assert (answer.status_code, answer.json()["status"], answer.json()["webhook_url"]) == (status, "pending", hook)
    assert sql("SELECT id::text FROM processing_request") == [{"id": answer.json()["request_id"]}]


def test_too_big_is_413_though_the_body_never_comes(client: httpx.Client, address: str) -> None:
    """Only the headers are sent: a body that does come is read on for a while, but not waited for."""
    host = urlsplit(address)
    with socket.create_connection((host.hostname, host.port), timeout=10) as connection:
        connection.sendall(b"POST /v1/requests HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n")
        connection.sendall(b"Content-Length: 200000000\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_too_big_without_a_length_is_413(client: httpx.Client) -> None:
    def endless() -> Any:
        yield from (b"x" * 100_000 for _ in range(20))

    answer = client.post("/v1/requests", content=endless(), headers={"Content-Type": "text/csv"})
    assert problem(answer) == (413, "too_large")


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/v1/requests"), ("PATCH", "/v1/requests/{id}"), ("PUT", "/upload"), ("PUT", "/v1/requests/{id}/retry")],
)
def test_wrong_methods_are_405(client: httpx.Client, method: str, path: str) -> None:
    assert problem(client.request(method, path)) == (405, "method_not_allowed")


def test_unknown_paths_and_trailing_slashes_are_404(client: httpx.Client) -> None:
    assert problem(client.post("/v1/requests/")) == (404, "not_found")
    assert problem(client.post("/nothing")) == (404, "not_found")


@pytest.mark.parametrize("path", ["/upload", "/api/upload-csv/"])
@pytest.mark.parametrize(
    "form",
    [
        {"files": {"file": ("a.csv", HEADER)}},
        {"files": {"file": ("a.csv", b"PK\x03\x04")}},
        {"files": {"other": ("a.csv", CSV)}},
        {"files": {"file": ("a.csv", b"x" * 1_000_001)}},
        {"files": {"file": ("a.csv", CSV)}, "data": {"quality": "0"}},
        {"content": b"x", "headers": {"Content-Type": "text/html"}},
    ],
)
def test_older_contracts_refuse_with_400(client: httpx.Client, path: str, form: dict[str, Any]) -> None:
    answer = client.post(path, **form)
    assert problem(answer)[0] == 400
    assert answer.json()["title"] == "Bad request"
