"""The output CSV over HTTP: order, alignment, mid-run, details."""

import csv
import io

import httpx
import pytest

from services.status import products
from shared.db import Database, execute
from tests.integration.status import seed

COLUMNS = ["S. No.", "Product Name", "Input Image Urls", "Output Image Urls"]


def rows_of(answer: httpx.Response) -> list[list[str]]:
    answer.raise_for_status()
    return list(csv.reader(io.StringIO(answer.text, newline=""), strict=True))


def test_a_thousand_products_keep_their_order_and_their_images(database: Database, client: httpx.Client) -> None:
    request = seed.request(products=1000, images=1500)
    images = [seed.completed(request.id, number) for number in range(1, 1501)]
    numbers = {row: [row, 1501 - row] for row in range(1, 1001)}
    products = [seed.product(request.id, row, numbers[row]) for row in numbers]
    seed.add(database, [request, *images, *reversed(products)])

    header, *rows = rows_of(client.get(f"/v1/requests/{request.id}/output.csv"))

    assert header == COLUMNS
    assert [row[0] for row in rows] == [str(row) for row in range(1, 1001)]
    base = f"https://shop.example/files/{request.id}/out"
    for row, line in zip(numbers, rows, strict=True):
        assert line[2] == ",".join(f"https://images.example/{number}.jpg" for number in numbers[row])
        assert line[3] == ",".join(f"{base}/{seed.digest(f'rendition {number}')}.jpg" for number in numbers[row])


def test_positions_without_a_rendition_are_empty_and_details_say_why(database: Database, client: httpx.Client) -> None:
    request = seed.request()
    images = [
        seed.pending(request.id, 1),
        seed.completed(request.id, 2),
        seed.failed(request.id, 3, code="too_large", detail="20,000,001 bytes"),
    ]
    seed.add(database, [request, *images, seed.product(request.id, 1, [1, 2, 3])])

    header, row = rows_of(client.get(f"/v1/requests/{request.id}/output.csv?details=1"))

    assert header == [*COLUMNS, "Status", "Errors"]
    first, second, third = row[3].split(",")
    assert (first, second.endswith(".jpg"), third) == ("", True, "")
    assert row[4:] == ["pending,completed,failed", ",,too_large: 20;000;001 bytes"]


def test_details_take_any_yes_or_no_and_nothing_else(database: Database, client: httpx.Client) -> None:
    request = seed.request()
    seed.add(database, [request, seed.pending(request.id, 1), seed.product(request.id, 1, [1])])
    for word, columns in {"true": 6, "YES": 6, "on": 6, "0": 4, "off": 4}.items():
        assert len(rows_of(client.get(f"/v1/requests/{request.id}/output.csv?details={word}"))[0]) == columns
    for word in ("AAA", "", "2"):
        answer = client.get(f"/v1/requests/{request.id}/output.csv?details={word}")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
        assert "details" in answer.json()["detail"]


def test_it_is_a_file_to_save_and_head_has_no_body(database: Database, client: httpx.Client) -> None:
    request = seed.request()
    seed.add(database, [request, seed.pending(request.id, 1), seed.product(request.id, 1, [1])])

    answer = client.get(f"/v1/requests/{request.id}/output.csv")
    head = client.head(f"/v1/requests/{request.id}/output.csv")

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == f'attachment; filename="output-{request.id}.csv"'
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-disposition"] == answer.headers["content-disposition"]


@pytest.mark.parametrize("name", ["output.csv", "outputs.zip"])
def test_a_delete_half_way_breaks_the_download_off(database: Database, client: httpx.Client, name: str) -> None:
    request = seed.request(products=2)
    seed.add(database, [request, seed.pending(request.id, 1), seed.product(request.id, 1, [1])])  # the second is gone

    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"/v1/requests/{request.id}/{name}")


def test_reading_a_request_that_is_deleted_meanwhile_does_not_end_as_if_it_were_whole(database: Database) -> None:
    count = products.ROWS_PER_READ + 1
    request = seed.request(products=count)
    rows = [seed.product(request.id, row, [1]) for row in range(1, count + 1)]
    seed.add(database, [request, seed.pending(request.id, 1), *rows])
    pages = products.export_rows(database, request.id, count)

    assert len(next(pages)) == products.ROWS_PER_READ
    database.transact(lambda session: execute(session, "DELETE FROM processing_request"))

    with pytest.raises(products.RequestGone):
        next(pages)
