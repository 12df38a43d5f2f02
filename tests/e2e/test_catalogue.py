"""A thousand images: exact counts, each URL fetched once, and both workers at work; then with parts that die."""

from collections.abc import Callable

import pytest
import redis

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from shared.broker.epoch import KEY as EPOCH_KEY
from tests.api import Client
from tests.origin import Origin
from tests.stack import Stack, until

IMAGES = 1000
SHARED = 40  # images that every tenth product uses as well


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    return [draw(f"{seed}.jpg", (160, 120)) for seed in range(20)]


@pytest.fixture
def catalogue(origin: Origin, pictures: list[bytes]) -> list[tuple[str, str, list[str]]]:
    """500 products of two images each, and every tenth has a third that others have too; names come twice."""
    urls = [origin.add(f"/{n}.jpg", pictures[n % len(pictures)]) for n in range(IMAGES)]
    products = []
    for number in range(IMAGES // 2):
        images = urls[2 * number : 2 * number + 2]
        if number % 10 == 0:
            images = [*images, urls[number // 10 % SHARED]]
        products.append((str(number), f"Product {number // 2}", images))
    return products


def assert_exact(api: Client, request_id: str, origin: Origin, *, within: float, fetched_once: bool) -> None:
    request = api.finished(request_id, within=within)
    assert (request["status"], request["outcome"]) == ("completed", "success")
    assert request["images"] == {"total": IMAGES, "pending": 0, "completed": IMAGES, "failed": 0, "cancelled": 0}
    assert request["products"] == IMAGES // 2
    rows = api.output_rows(request_id)
    assert [row["S. No."] for row in rows] == [str(number) for number in range(IMAGES // 2)]
    assert all(all(row["Output Image Urls"].split(",")) for row in rows)
    if fetched_once:
        assert {origin.hits(f"/{n}.jpg") for n in range(IMAGES)} == {1}


def test_a_thousand_images_complete_with_exact_counts(
    stack: Stack, api: Client, origin: Origin, catalogue: list[tuple[str, str, list[str]]]
) -> None:
    request_id = api.upload(manifest(catalogue))["request_id"]
    assert_exact(api, request_id, origin, within=120, fetched_once=True)
    products = list(api.items(f"/v1/requests/{request_id}/products", page_size="200"))
    assert [product["name"] for product in products[:4]] == ["Product 0", "Product 0", "Product 1", "Product 1"]


def kill_a_worker(stack: Stack) -> None:
    stack.kill("worker-1")


def wipe_valkey(stack: Stack) -> None:
    with redis.Redis.from_url(stack.redis_url) as valkey:
        valkey.flushall()


@pytest.mark.parametrize("disaster", [kill_a_worker, wipe_valkey])
def test_a_disaster_in_the_middle_loses_nothing(
    stack: Stack,
    api: Client,
    origin: Origin,
    catalogue: list[tuple[str, str, list[str]]],
    disaster: Callable[[Stack], None],
) -> None:
    request_id = api.upload(manifest(catalogue))["request_id"]
    until(lambda: api.request(request_id)["images"]["completed"] > 100, within=60)
    disaster(stack)
    assert_exact(api, request_id, origin, within=150, fetched_once=False)
    with redis.Redis.from_url(stack.redis_url) as valkey:
        # Messages in hand can be enough. The repair lets claims go, and the next test counts its fetches.
        until(lambda: valkey.exists(EPOCH_KEY), within=30)
