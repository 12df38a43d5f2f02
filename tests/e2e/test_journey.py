"""The journey in the order of the README: upload, watch, webhook, output."""

import io
import json
import threading
from typing import Any

import httpx
import pytest
from PIL import Image
from standardwebhooks import Webhook

from tests.e2e.api import Api, manifest
from tests.origin import Exchange, Origin, Received, status
from tests.pictures import encode, photo
from tests.stack import Stack, until


def secret_of(stack: Stack) -> str:
    import psycopg  # noqa: PLC0415 - the one test that looks into the database

    with psycopg.connect(stack.database_url) as connection:
        row = connection.execute("SELECT signing_secret FROM account WHERE name = 'default'").fetchone()
    assert row is not None
    return str(row[0])


@pytest.fixture
def shop(origin: Origin) -> list[tuple[str, str, list[str]]]:
    """Three products, five images, of which one is gone; two products share a name and an image."""
    pictures = {
        "/shoe.jpg": encode(photo(640, 480, 1), "jpeg", quality=90),
        "/shoe.png": encode(photo(200, 300, 2), "png"),
        "/hat,red.webp": encode(photo(320, 320, 3), "webp", quality=90),
        "/bag.jpg": encode(photo(1200, 900, 4), "jpeg", quality=95),
    }
    for path, data in pictures.items():
        origin.add(path, data)
    origin.on("/gone.jpg", status(404))
    url = origin.url
    return [
        ("1", "Shoe", [url("/shoe.jpg"), url("/gone.jpg"), url("/shoe.png")]),
        ("2", "Hat, red", [url("/hat,red.webp")]),
        ("3", "Shoe", [url("/shoe.jpg"), url("/bag.jpg")]),
    ]


def test_a_csv_goes_in_and_every_image_comes_out(
    stack: Stack, api: Api, origin: Origin, shop: list[tuple[str, str, list[str]]]
) -> None:
    seen_at_receipt: list[str] = []
    received = threading.Event()

    def receive(exchange: Exchange) -> None:
        data = json.loads(exchange.request.body)["data"]
        answer = httpx.get(f"{stack.base_url}/v1/requests/{data['request_id']}", timeout=10)
        seen_at_receipt.append(answer.json()["status"])
        status(204)(exchange)
        received.set()

    origin.on("/hook", receive)
    request_id = api.upload(manifest(shop), webhook_url=origin.url("/hook"))

    request = api.finished(request_id)
    assert (request["status"], request["outcome"], request["progress"]) == ("completed", "partial", 1.0)
    assert request["images"] == {"total": 5, "pending": 0, "completed": 4, "failed": 1, "cancelled": 0}
    assert request["products"] == 3
    assert 0 < request["bytes"]["rendition"] < request["bytes"]["source"]

    rows = api.output_csv(request_id)
    assert [row["S. No."] for row in rows] == ["1", "2", "3"]
    assert [row["Input Image Urls"] for row in rows] == [",".join(urls) for _, _, urls in shop]
    first = rows[0]["Output Image Urls"].split(",")
    assert first[1] == ""
    assert rows[2]["Output Image Urls"].split(",")[0] == first[0]

    assert_decodes(api, request_id)
    (failed,) = api.items(f"/v1/requests/{request_id}/images", status="failed")
    assert failed["error"]["code"] == "http_status"
    assert [origin.hits(path) for path in ("/shoe.jpg", "/gone.jpg")] == [1, 1]

    assert received.wait(10)
    assert seen_at_receipt == ["completed"]
    (hook,) = origin.posts("/hook")
    verify(hook, secret_of(stack), request)
    delivery = until(lambda: next(iter(delivered(api, request_id)), None))
    assert delivery["event_id"] == hook.headers["webhook-id"]
    assert [attempt["status_code"] for attempt in delivery["attempts"]] == [204]


def assert_decodes(api: Api, request_id: str) -> None:
    """Every rendition opens, is smaller than its source, and is served as what it is."""
    for image in api.items(f"/v1/requests/{request_id}/images", status="completed"):
        answer = api.http.get(image["output_url"])
        assert answer.status_code == 200
        assert len(answer.content) == image["rendition"]["bytes"] < image["source"]["bytes"]
        assert answer.headers["content-type"] == f"image/{image['rendition']['format']}"
        assert answer.headers["x-content-type-options"] == "nosniff"
        with Image.open(io.BytesIO(answer.content)) as picture:
            picture.load()
            assert picture.size == (image["source"]["width"], image["source"]["height"])


def delivered(api: Api, request_id: str) -> list[dict[str, Any]]:
    found = api.items(f"/v1/requests/{request_id}/deliveries")
    return [delivery for delivery in found if delivery["status"] == "delivered"]


def verify(hook: Received, secret: str, request: dict[str, object]) -> None:
    event = Webhook(secret).verify(hook.body, dict(hook.headers))
    assert event["type"] == "request.completed"
    assert event["data"] == request


def test_the_older_contracts_still_work(api: Api, shop: list[tuple[str, str, list[str]]]) -> None:
    upload = api.http.post("/upload", files={"file": ("p.csv", manifest(shop), "text/csv")})
    assert upload.status_code == 200
    first = upload.json()["request_id"]
    upload = api.http.post("/api/upload-csv/", files={"csv_file": ("p.csv", manifest(shop), "text/csv")})
    assert upload.status_code == 202
    second = upload.json()["request_id"]
    for request_id in (first, second):
        api.finished(request_id)
    assert api.http.get(f"/status/{first}").json()["status"] == "completed"
    assert api.http.get(f"/api/check-status/{second}/").json()["status"] == "completed"
    assert api.http.get("/status/unknown").status_code == 404
