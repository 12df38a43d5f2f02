"""The pages below a request: products, images, rejected rows."""

from collections import Counter
from collections.abc import Callable
from uuid import UUID

import httpx
import pytest

from services.status.products import export_rows
from shared.db import Database
from shared.lifecycle import group_of
from shared.schemas.tables import RejectedRow
from tests.integration.status import seed
from tests.integration.status.conftest import read_all


def test_image_shows_source_rendition_and_where_to_get_it(database: Database, client: httpx.Client) -> None:
    request = seed.request()
    image = seed.completed(request.id, 1, kept_original=True)
    seed.add(database, [request, image])

    (item,) = client.get(f"/v1/requests/{request.id}/images").json()["items"]

    assert item == {
        "number": 1,
        "url": "https://images.example/1.jpg",
        "status": "completed",
        "output_url": f"https://shop.example/files/{request.id}/out/{image.rendition_sha256}.jpg",
        "error": None,
        "attempts": 1,
        "source": {"bytes": 1000, "format": "jpeg", "width": 40, "height": 30, "sha256": image.source_sha256},
        "rendition": {
            "bytes": 400,
            "format": "jpeg",
            "width": 40,
            "height": 30,
            "sha256": image.rendition_sha256,
            "quality": 50,
            "kept_original": True,
        },
    }


def test_failed_image_tells_why_and_has_no_rendition(database: Database, client: httpx.Client) -> None:
    request = seed.request()
    seed.add(database, [request, seed.failed(request.id, 1), seed.pending(request.id, 2)])

    failed, pending = client.get(f"/v1/requests/{request.id}/images").json()["items"]

    assert failed["error"] == {"code": "http_status", "detail": "404 Not Found"}
    assert (failed["output_url"], failed["source"], failed["rendition"]) == (None, None, None)
    assert (pending["status"], pending["error"]) == ("pending", None)


@pytest.mark.parametrize(("status", "remainder"), [("pending", 0), ("completed", 1), ("failed", 2)])
def test_images_can_be_filtered_and_paged_across_groups_that_have_none_too(
    database: Database, client: httpx.Client, status: str, remainder: int
) -> None:
    """Groups of 128: the first has all kinds, the next three one kind each, the last all again."""
    request = seed.request()
    kinds = (seed.pending, seed.completed, seed.failed)
    chosen = {number: (number - 1) // 128 % 3 if 128 < number <= 512 else number % 3 for number in range(1, 541)}
    images = [kinds[kind](request.id, number) for number, kind in chosen.items()]
    groups = []
    for group in range(1, 6):
        states = Counter(image.state for image in images if group_of(image.number) == group)
        total = states.total()
        groups.append(
            seed.group(request.id, group, images=total, completed=states["completed"], failed=states["failed"])
        )
    seed.add(database, [request, *groups, *images])

    items = read_all(client, f"/v1/requests/{request.id}/images", status=status, page_size=31)

    assert [item["number"] for item in items] == [number for number, kind in chosen.items() if kind == remainder]
    assert {item["status"] for item in items} == {status}


def test_images_of_one_state_are_searched_only_in_groups_that_count_such_an_image(
    database: Database, client: httpx.Client
) -> None:
    """Seen by a group that counts none although it has one, as no group ever does."""
    request = seed.request()
    groups = [seed.group(request.id, 1, failed=1), seed.group(request.id, 2), seed.group(request.id, 3, cancelled=1)]
    seed.add(database, [request, *groups, *(seed.failed(request.id, number) for number in (1, 129, 257))])

    items = read_all(client, f"/v1/requests/{request.id}/images", status="failed")

    assert [item["number"] for item in items] == [1]


def test_products_come_in_input_order_with_each_image_at_its_position(database: Database, client: httpx.Client) -> None:
    request = seed.request()
    images = [seed.completed(request.id, number) for number in (1, 2, 3)]
    # Image 2 stands twice in one product and once in another.
    products = [seed.product(request.id, 2, [3, 2]), seed.product(request.id, 1, [2, 1, 2], name='Lamp "XL"')]
    seed.add(database, [request, *images, *products])

    first, second = read_all(client, f"/v1/requests/{request.id}/products", page_size=1)

    assert (first["row"], first["serial_number"], first["name"]) == (1, "1", 'Lamp "XL"')
    assert [(image["position"], image["number"]) for image in first["images"]] == [(1, 2), (2, 1), (3, 2)]
    assert [(image["position"], image["number"]) for image in second["images"]] == [(1, 3), (2, 2)]


def test_a_page_of_products_is_three_statements(
    database: Database, client: httpx.Client, statements: list[str]
) -> None:
    request = seed.request()
    seed.add(database, [request, *(seed.completed(request.id, number) for number in range(1, 41))])
    seed.add(database, [seed.product(request.id, row, [row, 41 - row]) for row in range(1, 41)])

    items = client.get(f"/v1/requests/{request.id}/products").json()["items"]

    assert len(items) == 40
    assert len(statements) == 3  # whose request, products, images


@pytest.fixture
def long_products(database: Database) -> Callable[[int], UUID]:
    """A request of so many products with a hundred images each, every URL as long as they come."""

    def add(count: int) -> UUID:
        request = seed.request(products=count)
        image = seed.completed(request.id, 1, url="https://images.example/".ljust(2048, "x"))
        seed.add(database, [request, image, *(seed.product(request.id, row, [1] * 100) for row in range(1, count + 1))])
        return request.id

    return add


def test_a_page_of_long_products_has_fewer_of_them_and_none_is_left_out(
    client: httpx.Client, long_products: Callable[[int], UUID]
) -> None:
    path = f"/v1/requests/{long_products(21)}/products"

    first = client.get(path, params={"page_size": 200})

    assert len(first.content) < 4_000_000
    assert [item["row"] for item in first.json()["items"]] == list(range(1, 11))
    assert [item["row"] for item in read_all(client, path, page_size=200)] == list(range(1, 22))
    assert [item["row"] for item in read_all(client, path, page_size=2)] == list(range(1, 22))


def test_a_list_that_ends_where_its_page_is_full_has_no_next_page(
    client: httpx.Client, long_products: Callable[[int], UUID]
) -> None:
    by_text = client.get(f"/v1/requests/{long_products(10)}/products").json()
    by_rows = client.get(f"/v1/requests/{long_products(3)}/products?page_size=3").json()

    assert ([item["row"] for item in by_text["items"]], by_text["next_page_token"]) == (list(range(1, 11)), None)
    assert ([item["row"] for item in by_rows["items"]], by_rows["next_page_token"]) == ([1, 2, 3], None)


def test_a_product_longer_than_a_page_is_a_page(database: Database, client: httpx.Client) -> None:
    request = seed.request(products=3)
    rows = [seed.product(request.id, row, [1], name="x" * 1_500_000) for row in (1, 2, 3)]
    seed.add(database, [request, seed.pending(request.id, 1), *rows])
    path = f"/v1/requests/{request.id}/products"

    assert len(client.get(path).json()["items"]) == 1
    assert [item["row"] for item in read_all(client, path)] == [1, 2, 3]


def test_what_is_streamed_is_read_in_pages_of_bounded_text(
    database: Database, long_products: Callable[[int], UUID]
) -> None:
    pages = list(export_rows(database, long_products(12), 12))

    assert [[product.row for product in page] for page in pages] == [list(range(1, 11)), [11, 12]]


def test_rejected_rows_are_paged_in_the_order_found(database: Database, client: httpx.Client) -> None:
    request = seed.request()
    rows = [RejectedRow(request_id=request.id, number=n, error={"row": n, "code": "no_url"}) for n in range(1, 8)]
    seed.add(database, [request, *rows])

    items = read_all(client, f"/v1/requests/{request.id}/rejected", page_size=3)

    assert items == [{"row": n, "code": "no_url"} for n in range(1, 8)]


def test_a_request_without_rows_has_empty_lists(database: Database, client: httpx.Client) -> None:
    request = seed.stored(database)

    for part in ("products", "rejected", "images", "deliveries"):
        body = client.get(f"/v1/requests/{request.id}/{part}").json()
        assert body == {"items": [], "next_page_token": None}


def test_an_image_that_failed_in_an_earlier_run_is_pending_in_this_one(
    database: Database, client: httpx.Client
) -> None:
    """Also before its group is dispatched, which is when it is written."""
    request = seed.request(run=2, images=3)
    again = seed.failed(request.id, 2)
    again_failed = seed.failed(request.id, 3)
    again_failed.run = 2
    seed.add(database, [request, seed.completed(request.id, 1), again, again_failed])
    seed.add(database, [seed.group(request.id, 1, images=3, completed=1, failed=1)])
    seed.add(database, [seed.product(request.id, 1, [1, 2, 3])])
    path = f"/v1/requests/{request.id}"

    shown = [client.get(f"{path}/images").json()["items"], client.get(f"{path}/products").json()["items"][0]["images"]]

    for images in shown:
        assert [image["status"] for image in images] == ["completed", "pending", "failed"]
        assert [image["error"] is None for image in images] == [True, True, False]
        assert images[1]["attempts"] == 0
    for status, number in (("completed", 1), ("pending", 2), ("failed", 3)):
        items = client.get(f"{path}/images", params={"status": status}).json()["items"]
        assert [image["number"] for image in items] == [number]
    (_, details) = client.get(f"{path}/output.csv", params={"details": "true"}).text.splitlines()
    assert "completed,pending,failed" in details
    assert details.count("http_status") == 1
