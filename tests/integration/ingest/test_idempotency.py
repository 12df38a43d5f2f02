"""`Idempotency-Key`: sent twice, accepted once."""

from typing import Any

import httpx
import psycopg
import pytest

from services.ingest.settings import IngestSettings
from shared.schemas.accounts import DEFAULT_ACCOUNT
from tests.integration.ingest.conftest import Sent, Sql
from tests.integration.ingest.test_accept import CSV, HEADER, post_csv

KEY = {"Idempotency-Key": "order-17"}


def post(client: httpx.Client, text: str = CSV, **options: Any) -> httpx.Response:
    return client.post("/v1/requests", files={"file": ("a.csv", text)}, data=options, headers=KEY)


def count(sql: Sql) -> Any:
    return sql("SELECT count(*) AS n FROM processing_request")[0]["n"]


def test_the_same_upload_gets_the_first_answer_again(client: httpx.Client, sql: Sql, sent: Sent) -> None:
    first = post(client)
    again = post(client, quality="50")  # the default, spelled out
    assert (again.status_code, again.json()) == (202, first.json())
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert count(sql) == 1
    assert len(sent("dispatch")) == 1


def test_the_framing_does_not_matter(client: httpx.Client, sql: Sql) -> None:
    first = post(client)
    raw = client.post("/v1/requests", content=CSV.encode(), headers=KEY | {"Content-Type": "text/csv"})
    assert raw.json() == first.json()
    assert count(sql) == 1


def test_equal_json_in_another_order_is_the_same(client: httpx.Client) -> None:
    product = '{"serial_number":"1","name":"n","image_urls":["https://a.example/1.jpg"]}'
    turned = '{"image_urls": ["https://a.example/1.jpg"], "name": "n", "serial_number": "1"}'
    headers = KEY | {"Content-Type": "application/json"}
    bodies = (f'{{"products":[{product}]}}', f'{{"quality": 50, "products": [{turned}]}}')
    first, again = (client.post("/v1/requests", content=body.encode(), headers=headers) for body in bodies)
    assert (again.status_code, again.json()) == (202, first.json())


def test_other_content_under_the_key_is_422(client: httpx.Client) -> None:
    post(client)
    for answer in (post(client, CSV + "9,Shoe,https://a.example/9.jpg\n"), post(client, quality="51")):
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


def test_a_refused_upload_does_not_use_the_key_up(client: httpx.Client) -> None:
    assert post(client, HEADER).status_code == 422
    assert post(client).status_code == 202


def test_an_upload_under_way_is_409(client: httpx.Client, settings: IngestSettings) -> None:
    with psycopg.connect(settings.database_url) as other:
        other.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s::text || %s, 0))", (DEFAULT_ACCOUNT, "order-17")
        )
        answer = post(client)
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_in_flight")
        assert answer.headers["retry-after"]
    assert post(client).status_code == 202


def test_after_24_hours_the_key_is_free(client: httpx.Client, sql: Sql) -> None:
    first = post(client)
    sql("UPDATE processing_request SET created_at = created_at - interval '24 h 1 s'")
    second = post(client, quality="51")
    assert second.status_code == 202
    assert second.json()["request_id"] != first.json()["request_id"]
    assert count(sql) == 2


def test_without_a_key_every_upload_is_a_new_one(client: httpx.Client, sql: Sql) -> None:
    post_csv(client)
    post_csv(client)
    assert count(sql) == 2


@pytest.mark.parametrize("keys", [[""], ["x" * 256], ["a\tb"], ["order-17", "order-17"], ["order-17", "order-18"]])
def test_a_key_that_is_no_key_and_two_keys_are_400(client: httpx.Client, sql: Sql, keys: list[str]) -> None:
    headers = [("Idempotency-Key", key) for key in keys]
    answer = client.post("/v1/requests", files={"file": ("a.csv", CSV)}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_idempotency_key")
    assert count(sql) == 0


def test_skipped_rows_are_in_the_replayed_answer(client: httpx.Client) -> None:
    text = CSV + "3,,https://a.example/3.jpg\n"
    first, again = post(client, text, on_invalid="skip"), post(client, text, on_invalid="skip")
    assert again.json() == first.json()
    assert again.json()["error_count"] == 1
