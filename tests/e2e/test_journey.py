"""The journey in the order of the README: upload, watch, webhook, output."""

import httpx
import pytest

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import decode, draw
from deploy.demo.receiver import Receiver
from tests.api import JSON, Client
from tests.origin import Origin, status
from tests.stack import Stack, until

Products = list[tuple[str, str, list[str]]]


@pytest.fixture
def shop(origin: Origin) -> Products:
    """Three products, five images, of which one is gone; two products share a name and an image."""
    sizes = {"shoe.jpg": (640, 480), "shoe.png": (200, 300), "hat,red.webp": (320, 320), "bag.jpg": (1200, 900)}
    for name, size in sizes.items():
        origin.add(f"/{name}", draw(name, size))
    origin.on("/gone.jpg", status(404))
    url = origin.url
    return [
        ("1", "Shoe", [url("/shoe.jpg"), url("/gone.jpg"), url("/shoe.png")]),
        ("2", "Hat, red", [url("/hat,red.webp")]),
        ("3", "Shoe", [url("/shoe.jpg"), url("/bag.jpg")]),
    ]


def test_a_csv_goes_in_and_every_image_comes_out(
    stack: Stack, api: Client, http: httpx.Client, origin: Origin, shop: Products
) -> None:
    # Steps 1 to 3: upload.
    receiver = Receiver(api.request, secret=stack.command("secret").stdout.strip())
    form = {"webhook_url": origin.on("/hook", receiver)}
    accepted = http.post("/v1/requests", files={"file": ("products.csv", manifest(shop), "text/csv")}, data=form)
    assert accepted.status_code == 202, accepted.text
    request_id = accepted.json()["request_id"]

    # Steps 4 to 8; each poll is step 10.
    request = api.finished(request_id)
    assert (request["status"], request["outcome"], request["progress"]) == ("completed", "partial", 1.0)
    assert request["images"] == {"total": 5, "pending": 0, "completed": 4, "failed": 1, "cancelled": 0}
    assert request["products"] == 3
    assert 0 < request["bytes"]["rendition"] < request["bytes"]["source"]

    rows = api.output_rows(request_id)
    assert [row["S. No."] for row in rows] == ["1", "2", "3"]
    assert [row["Input Image Urls"] for row in rows] == [",".join(urls) for _, _, urls in shop]
    first = rows[0]["Output Image Urls"].split(",")
    assert first[1] == ""
    assert rows[2]["Output Image Urls"].split(",")[0] == first[0]

    for image in api.items(f"/v1/requests/{request_id}/images", status="completed"):
        assert_is_served_and_decodes(http.get(image["output_url"], follow_redirects=True), image)
    (failed,) = api.items(f"/v1/requests/{request_id}/images", status="failed")
    assert failed["error"]["code"] == "http_status"
    assert [origin.hits(path) for path in ("/shoe.jpg", "/gone.jpg")] == [1, 1]

    # Step 9: the webhook.
    assert receiver.wait(within=10)
    (hook,) = receiver.arrivals
    assert (hook.refusal, hook.status_shown) == (None, "completed")
    assert (hook.event["type"], hook.event["data"]) == ("request.completed", request)
    delivery = until(lambda: next(iter(delivered(api, request_id)), None))
    assert delivery["event_id"] == hook.event_id
    assert [attempt["status_code"] for attempt in delivery["attempts"]] == [204]


def assert_is_served_and_decodes(answer: httpx.Response, image: JSON) -> None:
    """The rendition is smaller than its source and served as what it is."""
    assert answer.status_code == 200
    assert len(answer.content) == image["rendition"]["bytes"] < image["source"]["bytes"]
    assert answer.headers["content-type"] == f"image/{image['rendition']['format']}"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert decode(answer.content).size == (image["source"]["width"], image["source"]["height"])


def delivered(api: Client, request_id: str) -> list[JSON]:
    found = api.items(f"/v1/requests/{request_id}/deliveries")
    return [delivery for delivery in found if delivery["status"] == "delivered"]


@pytest.mark.parametrize(
    ("upload", "field", "status_code", "status_path"),
    [("/upload", "file", 200, "/status/{}"), ("/api/upload-csv/", "csv_file", 202, "/api/check-status/{}/")],
)
def test_the_older_contracts_still_work(
    api: Client, http: httpx.Client, shop: Products, upload: str, field: str, status_code: int, status_path: str
) -> None:
    answer = http.post(upload, files={field: ("p.csv", manifest(shop), "text/csv")})
    assert answer.status_code == status_code
    request_id = answer.json()["request_id"]
    api.finished(request_id)
    assert http.get(status_path.format(request_id)).json()["status"] == "completed"
    assert http.get(status_path.format("unknown")).status_code == 404
