"""Images by what they save, and by whether the source's image data was kept."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import get_ident
from uuid import UUID

import httpx
import pytest
from sqlmodel.sql.expression import SelectOfScalar

from services.status import images
from services.status.app import create
from services.status.images import ImageFilter
from services.status.routes import LONG_READS
from services.status.settings import StatusSettings
from shared.db import Database
from shared.schemas.tables import Image
from tests.integration.status import seed
from tests.integration.status.conftest import read_all
from tests.serving import serving

SAVED = {1: 600, 2: None, 3: -50, 4: 600, 5: 0, 6: None, 7: 900, 8: 600, 9: None}
"""By image: 2 has failed, 6 and 9 are pending."""


def with_savings(database: Database) -> UUID:
    request = seed.request()
    images = [
        seed.completed(request.id, number, rendition_bytes=1000 - saved, kept_original=saved == 0)
        for number, saved in SAVED.items()
        if saved is not None
    ]
    images += [seed.failed(request.id, 2), seed.pending(request.id, 6), seed.pending(request.id, 9)]
    counted = seed.group(request.id, 1, images=9, completed=6, failed=1)
    seed.add(database, [request, counted, *images])
    return request.id


@pytest.mark.parametrize("size", [1, 2, 50])
@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("number", [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("-saved", [7, 1, 4, 8, 5, 3, 2, 6, 9]),
        ("saved", [3, 5, 1, 4, 8, 7, 2, 6, 9]),
    ],
)
def test_images_are_listed_by_what_they_save_and_those_without_a_rendition_come_last(
    database: Database, client: httpx.Client, order: str, expected: list[int], size: int
) -> None:
    path = f"/v1/requests/{with_savings(database)}/images"

    assert [item["number"] for item in read_all(client, path, sort=order, page_size=size)] == expected


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"kept_original": "true"}, [5]),
        ({"kept_original": "no"}, [1, 3, 4, 7, 8]),
        ({"kept_original": "no", "sort": "-saved"}, [7, 1, 4, 8, 3]),
        ({"kept_original": "true", "status": "completed"}, [5]),
        ({"kept_original": "true", "status": "failed"}, []),
        ({"sort": "saved", "status": "completed"}, [3, 5, 1, 4, 8, 7]),
        ({"sort": "-saved", "status": "pending"}, [6, 9]),
        ({"sort": "", "status": "failed"}, [2]),
    ],
)
def test_filters_and_orders_go_together(
    database: Database, client: httpx.Client, params: dict[str, str], expected: list[int]
) -> None:
    path = f"/v1/requests/{with_savings(database)}/images"

    assert [item["number"] for item in read_all(client, path, **params, page_size=2)] == expected


def test_a_failed_image_of_a_retry_is_pending_in_every_order(database: Database, client: httpx.Client) -> None:
    request = seed.request(run=2)
    seed.add(database, [request, seed.failed(request.id, 1), seed.completed(request.id, 2)])

    items = read_all(client, f"/v1/requests/{request.id}/images", sort="saved")

    assert [(item["number"], item["status"], item["error"]) for item in items] == [
        (2, "completed", None),
        (1, "pending", None),
    ]


@pytest.mark.parametrize(("given", "asked"), [("saved", "-saved"), ("number", "saved"), ("-saved", "number")])
def test_a_token_of_another_order_is_refused(database: Database, client: httpx.Client, given: str, asked: str) -> None:
    path = f"/v1/requests/{with_savings(database)}/images"
    token = client.get(path, params={"sort": given, "page_size": 1}).json()["next_page_token"]

    answer = client.get(path, params={"sort": asked, "page_token": token})

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


@pytest.mark.parametrize("params", [{"sort": "size"}, {"kept_original": "perhaps"}, {"kept_original": ""}])
def test_an_order_or_a_filter_that_does_not_exist_is_refused(
    database: Database, client: httpx.Client, params: dict[str, str]
) -> None:
    answer = client.get(f"/v1/requests/{with_savings(database)}/images", params=params)

    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


@pytest.mark.parametrize("query", ["sort=saved", "sort=-saved", "kept_original=true"])
def test_pages_for_which_all_images_are_read_take_turns_with_the_reports(
    settings: StatusSettings, database: Database, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """One account would hold all connections to the database: another's read took seconds."""
    request_id, filtered, under_way, seen = with_savings(database), images._images, set[int](), list[int]()

    def counted(request_id: UUID, only: ImageFilter) -> SelectOfScalar[Image]:
        under_way.add(get_ident())
        seen.append(len(under_way))
        time.sleep(0.05)
        under_way.discard(get_ident())
        return filtered(request_id, only)

    monkeypatch.setattr(images, "_images", counted)
    with serving(create(settings)) as address, ThreadPoolExecutor(6) as clients:
        url = f"{address}/v1/requests/{request_id}/images?{query}"
        assert {answer.status_code for answer in clients.map(httpx.get, [url] * 6)} == {200}

    assert len(seen) == 6
    assert max(seen) <= LONG_READS
