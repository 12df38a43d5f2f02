"""POST /v1/requests in its three shapes, and what it leaves in the database."""

from typing import Any

import httpx

from tests.integration.ingest.conftest import PUBLIC_URL, Sent, Sql

HEADER = "S. No.,Product Name,Input Image Urls\n"
CSV = HEADER + '1,Shirt,"https://a.example/1.jpg,https://a.example/2.jpg"\n2,Hat,https://a.example/1.jpg\n'


def post_csv(client: httpx.Client, text: str = CSV, **params: Any) -> httpx.Response:
    return client.post("/v1/requests", content=text.encode(), headers={"Content-Type": "text/csv"}, params=params)


def test_raw_csv_is_accepted_and_stored(client: httpx.Client, sql: Sql, sent: Sent) -> None:
    answer = post_csv(client, quality=70, mode="relative", max_side=800)
    body = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"{PUBLIC_URL}/v1/requests/{body['request_id']}"
    assert answer.headers["retry-after"] == "1"
    assert (body["status"], body["products"], body["images"]["total"]) == ("pending", 2, 2)
    assert body["options"] == {"quality": 70, "mode": "relative", "format": "keep", "max_side": 800}
    assert sql("SELECT row, serial_number, name, images FROM product ORDER BY row") == [
        {"row": 1, "serial_number": "1", "name": "Shirt", "images": [1, 2]},
        {"row": 2, "serial_number": "2", "name": "Hat", "images": [1]},
    ]
    assert sql("SELECT number, url, state, run, attempts FROM image ORDER BY number") == [
        {"number": 1, "url": "https://a.example/1.jpg", "state": "pending", "run": 1, "attempts": 0},
        {"number": 2, "url": "https://a.example/2.jpg", "state": "pending", "run": 1, "attempts": 0},
    ]
    assert sql("SELECT number, state, images FROM image_group") == [{"number": 1, "state": "waiting", "images": 2}]
    assert sql("SELECT deadline_at - created_at = interval '24 h' AS yes FROM processing_request") == [{"yes": True}]
    assert sent("dispatch") == [{"request_id": body["request_id"]}]


def test_images_are_grouped_by_128(client: httpx.Client, sql: Sql) -> None:
    post_csv(client, HEADER + "".join(f"{n},P,https://a.example/{n}.jpg\n" for n in range(1, 301)))
    assert sql("SELECT number, images FROM image_group ORDER BY number") == [
        {"number": 1, "images": 128},
        {"number": 2, "images": 128},
        {"number": 3, "images": 44},
    ]
    assert sql("SELECT open_groups FROM processing_request") == [{"open_groups": 3}]


def test_text_with_tabs_newlines_and_backslashes_survives_the_copy(client: httpx.Client, sql: Sql) -> None:
    post_csv(client, HEADER + '"a\\b\tc","line\none\\N\rtwo",https://a.example/{1}.jpg\n')
    assert sql("SELECT serial_number, name FROM product") == [
        {"serial_number": "a\\b\tc", "name": "line\none\\N\rtwo"},
    ]
    assert sql("SELECT url FROM image") == [{"url": "https://a.example/{1}.jpg"}]


def test_multipart_is_accepted_under_three_field_names(client: httpx.Client) -> None:
    for field in ("file", "csv_file", "csvFile"):
        answer = client.post("/v1/requests", files={field: ("products.csv", CSV)}, data={"quality": "30"})
        assert answer.status_code == 202
        assert answer.json()["options"]["quality"] == 30


def test_json_is_accepted(client: httpx.Client, sql: Sql) -> None:
    product = {"serial_number": 7, "name": " Shirt ", "image_urls": ["https://a.example/1.jpg"]}
    answer = client.post("/v1/requests", json={"products": [product], "format": "webp"})
    assert answer.status_code == 202
    assert answer.json()["options"]["format"] == "webp"
    assert sql("SELECT serial_number, name FROM product") == [{"serial_number": "7", "name": "Shirt"}]


def test_wrong_rows_are_refused_and_nothing_is_stored(client: httpx.Client, sql: Sql) -> None:
    answer = post_csv(client, HEADER + "1,,https://a.example/1.jpg\n2,Hat,ftp://a.example/2.jpg\n")
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert [(error["row"], error["line"], error["code"]) for error in answer.json()["errors"]] == [
        (1, 2, "empty_name"),
        (2, 3, "invalid_url"),
    ]
    assert answer.json()["error_count"] == 2
    assert sql("SELECT count(*) AS n FROM processing_request") == [{"n": 0}]


def test_skip_takes_the_good_rows_and_lists_the_others(client: httpx.Client, sql: Sql) -> None:
    answer = post_csv(client, HEADER + "1,,https://a.example/1.jpg\n2,Hat,https://a.example/2.jpg\n", on_invalid="skip")
    body = answer.json()
    assert (answer.status_code, body["products"], body["error_count"]) == (202, 1, 1)
    assert body["errors"][0]["code"] == "empty_name"
    assert sql("SELECT number, error ->> 'code' AS code FROM rejected_row") == [{"number": 1, "code": "empty_name"}]
    assert sql("SELECT row FROM product") == [{"row": 2}]


def test_skip_refuses_an_upload_without_any_good_row(client: httpx.Client) -> None:
    assert post_csv(client, HEADER + "1,,https://a.example/1.jpg\n", on_invalid="skip").status_code == 422


def test_validation_lists_the_errors(client: httpx.Client) -> None:
    body = post_csv(client, HEADER + "1,,https://a.example/1.jpg\n", validate_only="true").json()
    assert (body["valid"], body["products"], body["error_count"]) == (False, 0, 1)


def test_too_many_images_are_refused(client: httpx.Client) -> None:
    rows = "".join(f"{n},P,https://a.example/{n}.jpg\n" for n in range(1, 502))
    for on_invalid in ("reject", "skip"):
        answer = post_csv(client, HEADER + rows, on_invalid=on_invalid)
        assert answer.status_code == 422
        assert answer.json()["errors"][-1]["code"] == "too_many_images"
        assert answer.json()["errors"][-1]["row"] == 501
