"""Status answers any question without a 5xx."""

import re
from collections.abc import Iterator
from urllib.parse import quote, urlencode

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.status import paging
from shared.db import Database
from shared.http.paths import METHODS
from shared.ids import uuid7

TEXT = st.text('\0\x85 1aé-_.=/"\\[]{},:', max_size=30) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TOKEN = st.recursive(
    st.none() | st.integers(-(2**70), 2**70) | st.floats() | TEXT | st.just(str(uuid7())),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
).map(paging._encode)  # type: ignore[arg-type]
NUMBERS = st.integers(-(2**70), 2**70).map(str)
QUERY = st.dictionaries(
    st.sampled_from(["page_size", "page_token", "status", "details"]), TOKEN | TEXT | NUMBERS, max_size=3
)
HEADER = st.binary(max_size=60).map(lambda data: bytes(byte for byte in data if 32 < byte < 127 or byte > 127))
HEADERS = st.dictionaries(
    st.sampled_from([b"If-None-Match", b"If-Range", b"Range", b"Last-Event-ID", b"X-Request-Id", b"Accept"]), HEADER
)
READ = sorted(path for path, methods in METHODS.items() if "GET" in methods)


@pytest.fixture(scope="module")
def status(tables: Database, address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=30) as client:
        yield client


@settings(max_examples=300)
@given(
    path=st.sampled_from(READ),
    request_id=st.just(str(uuid7())) | TEXT,
    rest=NUMBERS | TEXT,
    query=QUERY,
    headers=HEADERS,
)
def test_any_question(
    status: httpx.Client, path: str, request_id: str, rest: str, query: dict[str, str], headers: dict[bytes, bytes]
) -> None:
    asked = path.replace("{request_id}", quote(request_id, safe=""))
    asked = asked.replace("{number}", quote(rest, safe=""))
    asked = re.sub(r"{\w+:path}", lambda _: quote(rest), asked)
    answer = status.get(f"{asked}?{urlencode(query)}", headers=headers)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400 and not path.startswith("/docs/problems/"):  # those are pages for people
        assert orjson.loads(answer.content)["status"] == answer.status_code
