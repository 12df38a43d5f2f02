import csv
import io

import pytest

from deploy.demo import catalogue, pictures
from deploy.local.settings import LocalSettings


def test_the_catalogue_has_ten_products_25_images_and_one_in_two_products() -> None:
    placed = [name for product in catalogue.PRODUCTS for name in product.files]
    assert len(catalogue.PRODUCTS) == 10
    assert len(catalogue.files()) == 25
    assert [name for name in catalogue.files() if placed.count(name) == 2] == [catalogue.SHARED]
    assert {name.rpartition(".")[2] for name in placed} == {"jpg", "png", "webp"}


def test_the_dead_url_stands_between_two_good_ones() -> None:
    (files,) = (product.files for product in catalogue.PRODUCTS if catalogue.MISSING in product.files)
    assert (files.index(catalogue.MISSING), len(files)) == (1, 3)


def test_the_manifest_reads_back_as_the_catalogue() -> None:
    header, *rows = csv.reader(io.StringIO(catalogue.demo_manifest("host:1").decode(), newline=""))
    assert tuple(header) == catalogue.HEADER
    expected = [",".join(f"http://host:1/images/{name}" for name in product.files) for product in catalogue.PRODUCTS]
    assert [row[2] for row in rows] == expected


@pytest.mark.parametrize("name", ["side-table.jpg", "lamp-off.webp", "carafe.png"])
def test_a_picture_is_the_same_each_time_and_decodes(name: str) -> None:
    drawn = pictures.draw(name, (96, 64))
    assert drawn == pictures.draw(name, (96, 64))
    assert pictures.decode(drawn).size == (96, 64)


@pytest.mark.parametrize("body", [b"", b"<html>", pictures.draw("carafe.png", (96, 64))[:800]])
def test_what_does_not_decode_is_an_os_error(body: bytes) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - Pillow's words are its own
        pictures.decode(body)


@pytest.mark.parametrize(
    ("given", "merged"),
    [
        ("", "127.0.0.1:8500"),
        ("a:1, b:2", "a:1,b:2,127.0.0.1:8500"),
        ("127.0.0.1:8500,a:1", "127.0.0.1:8500,a:1"),
    ],
)
def test_the_origin_joins_what_is_allowed_already(given: str, merged: str) -> None:
    assert LocalSettings(demo_port=8500, fetch_allow=given).egress_allow == merged


def test_a_stack_that_others_reach_does_not_let_the_demo_through() -> None:
    assert LocalSettings(bind="0.0.0.0", auth="off").egress_allow == ""
