"""Nothing of a key but its id stands in a log, whatever part of a call it was put into."""

import io
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from services.ingest import app as ingest
from services.ingest.settings import IngestSettings
from shared.db import Database
from shared.http.authentication import KnownKey, digest_of
from shared.http.caller import WITHOUT_KEYS
from tests.integration.keys.conftest import Call, add_account, add_key
from tests.logs import logging_as


@pytest.fixture
def logs(addresses: dict[str, str]) -> Iterator[io.StringIO]:
    del addresses  # they configure the logs as they start
    with logging_as("json") as written:
        yield written


def test_no_log_and_no_answer_has_the_secret(logs: io.StringIO, call: Call, database: Database) -> None:
    key = add_key(database, add_account(database))
    secret = key.text[-43:]
    wrong = {"Authorization": f"Bearer {key.text}x"}
    for headers in (key.headers, wrong, {**key.headers, "X-Request-Id": key.text}, {"Cookie": key.text}):
        for method in ("GET", "POST", "DELETE"):
            for path in ("/v1/requests", f"/v1/keys/{key.text}", f"/v1/keys/{quote(key.text)}/rotate", f"/{key.text}"):
                answer = call(method, f"{path}?key={key.text}", headers=headers, content=key.text.encode())
                assert secret not in answer.text
    made = call("POST", "/v1/keys", headers=key.headers).json()
    written = logs.getvalue()
    assert key.id in written
    assert secret not in written
    assert made["key"][-43:] not in written


def test_a_key_in_memory_does_not_show_its_digest() -> None:
    digest = digest_of("x")
    assert digest not in repr(KnownKey(WITHOUT_KEYS, digest, 0, 0))


def test_with_keys_off_a_key_is_not_looked_at(settings: IngestSettings) -> None:
    app = ingest.create(settings.model_copy(update={"auth": "off"}))
    assert app.state.context.keyring is None
    app.state.context.close()
