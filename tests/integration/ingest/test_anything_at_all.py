"""Any input gets an answer below 500, from the real database: jsonb refuses some of what JSON allows."""

from typing import Any

import httpx
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.ingest.conftest import Sql
from tests.integration.ingest.test_accept import HEADER, post_csv
from tests.integration.ingest.test_http_edges import problem

GOOD = "1,Shirt,https://a.example/1.jpg\n"
PRODUCT = {"serial_number": "1", "name": "Shirt", "image_urls": ["https://a.example/1.jpg"]}
ODD = st.text('\0\x01\x85\ufeff\u2028",;\t\r\n\\ 1aé:/.htps', max_size=40)
CELL = ODD | st.text(max_size=20) | st.just("https://a.example/1.jpg")
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | CELL,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(CELL, inner, max_size=4),
    max_leaves=12,
)
ITEM = JSON | st.fixed_dictionaries({}, optional={"serial_number": JSON, "name": JSON, "image_urls": JSON})
OPTIONS = ("quality", "mode", "format", "max_side", "webhook_url", "webhookUrl", "on_invalid", "validate_only")
KEY = st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"), max_size=300).map(
    lambda text: text.encode("latin-1")
)
FUZZ = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _answered(answer: httpx.Response) -> None:
    assert answer.status_code < 500, answer.text
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("row", ["2,H\0at,https://a.example/2.jpg\n", "\0,Hat,\0\n\0,Hat,https://a.example/2.jpg\n"])
def test_a_skipped_row_with_a_nul_is_listed(client: httpx.Client, sql: Sql, row: str) -> None:
    answer = post_csv(client, HEADER + GOOD + row, on_invalid="skip")
    assert answer.status_code == 202, answer.text
    assert answer.json()["error_count"] == len(sql("SELECT error FROM rejected_row"))
    assert {"nul_byte"} <= {error["code"] for error in answer.json()["errors"]}


@pytest.mark.parametrize(
    "item", ["a\0", {**PRODUCT, "serial_number": "2\0"}, {**PRODUCT, "name": ["\0"]}, {"serial_number": {"\0": "\0"}}]
)
def test_a_skipped_product_with_a_nul_is_listed(client: httpx.Client, sql: Sql, item: Any) -> None:
    answer = client.post(
        "/v1/requests",
        json={"products": [PRODUCT, item], "on_invalid": "skip"},
        headers={"Idempotency-Key": "k"},
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["error_count"] == len(sql("SELECT error FROM rejected_row"))


@pytest.mark.parametrize("depth", [200, 1000])
@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "k"}])
@pytest.mark.parametrize(
    "place", ['{"products": [%s]}', '{"products": [], "quality": %s}', '{"products": [{"name": %s}]}']
)
def test_deep_json_is_refused(client: httpx.Client, place: str, key: dict[str, str], depth: int) -> None:
    body = place % ("[" * depth + "]" * depth)
    answer = client.post("/v1/requests", content=body, headers={"Content-Type": "application/json", **key})
    assert problem(answer)[0] in (400, 422)


@pytest.mark.parametrize("charset", ["idna", "undefined", "punycode", "unicode_escape", "hex", "utf-7", "utf-16"])
def test_a_form_in_an_odd_charset_is_no_reason_to_fail(client: httpx.Client, charset: str) -> None:
    parts = ('name="webhook_url"\r\n\r\n\\ud800\xff', f'name="file"; filename="a"\r\n\r\n{HEADER}{GOOD}')
    body = "".join(f"--x\r\nContent-Disposition: form-data; {part}\r\n" for part in parts) + "--x--\r\n"
    media_type = f"multipart/form-data; boundary=x; charset={charset}"
    _answered(client.post("/v1/requests", content=body.encode("latin-1"), headers={"Content-Type": media_type}))


@FUZZ
@given(rows=st.lists(st.lists(CELL, max_size=4).map(",".join), max_size=5).map("\n".join), skip=st.booleans())
def test_any_rows(client: httpx.Client, rows: str, skip: bool) -> None:  # noqa: FBT001
    data = (HEADER + GOOD + rows).encode(errors="replace")
    params = {"on_invalid": "skip"} if skip else {}
    _answered(client.post("/v1/requests", content=data, headers={"Content-Type": "text/csv"}, params=params))


@FUZZ
@given(
    data=st.binary(max_size=300),
    kind=st.sampled_from(["text/csv", "application/json", "multipart/form-data; boundary=x"]),
)
def test_any_bytes(client: httpx.Client, data: bytes, kind: str) -> None:
    _answered(client.post("/v1/requests?on_invalid=skip", content=data, headers={"Content-Type": kind}))


@FUZZ
@given(items=st.lists(ITEM, max_size=4), options=st.dictionaries(st.sampled_from(OPTIONS), JSON, max_size=3), key=KEY)
def test_any_products(client: httpx.Client, items: list[Any], options: dict[str, Any], key: bytes) -> None:
    body = orjson.dumps({"products": [PRODUCT, *items], "on_invalid": "skip", **options})
    headers = {b"Content-Type": b"application/json", b"Idempotency-Key": key}
    _answered(client.post("/v1/requests", content=body, headers=headers))


@FUZZ
@given(options=st.dictionaries(st.sampled_from(OPTIONS), CELL, max_size=3))
def test_any_options_in_a_form_and_in_the_query(client: httpx.Client, options: dict[str, str]) -> None:
    file = {"file": ("a.csv", HEADER + GOOD)}
    _answered(client.post("/v1/requests", files=file, data=options))
    _answered(client.post("/v1/requests", files=file, params=options))
