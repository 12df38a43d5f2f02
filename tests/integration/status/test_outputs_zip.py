"""outputs.zip over HTTP, opened by another implementation."""

import io
import stat
import zipfile

import httpx
import pytest

from shared.blobs import Blobs
from shared.db import Database
from tests.integration.status import seed


def opened(answer: httpx.Response) -> zipfile.ZipFile:
    answer.raise_for_status()
    file = zipfile.ZipFile(io.BytesIO(answer.content))
    assert file.testzip() is None
    return file


def test_every_rendition_is_there_under_its_products_name(
    database: Database, client: httpx.Client, blobs: Blobs
) -> None:
    request = seed.request(products=2)
    images = [seed.completed(request.id, number) for number in (1, 2, 3)]
    for image in images:
        seed.put_rendition(blobs, image, f"content {image.number}".encode() * 1000)
    # Image 2 stands twice; image 4 failed; both products have one name.
    products = [
        seed.product(request.id, 1, [1, 4, 2], serial_number="A/1", name="Tisch: grün?"),
        seed.product(request.id, 2, [2, 3], serial_number="a-1", name="Tisch- grün-"),
    ]
    seed.add(database, [request, *images, seed.failed(request.id, 4), *products])

    answer = client.get(f"/v1/requests/{request.id}/outputs.zip")
    file = opened(answer)

    content = {info.filename: file.read(info) for info in file.infolist()}
    assert content == {
        "A-1_Tisch- grün-_1.jpg": b"content 1" * 1000,
        "A-1_Tisch- grün-_3.jpg": b"content 2" * 1000,
        "a-1_Tisch- grün-~2_1.jpg": b"content 2" * 1000,
        "a-1_Tisch- grün-~2_2.jpg": b"content 3" * 1000,
    }
    assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_STORED}
    assert {stat.filemode(info.external_attr >> 16) for info in file.infolist()} == {"-rw-r--r--"}
    assert not any(info.flag_bits & 1 << 3 for info in file.infolist())  # no sizes behind the content
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"] == f'attachment; filename="outputs-{request.id}.zip"'


def test_a_missing_file_is_listed_and_the_archive_stays_whole(
    database: Database, client: httpx.Client, blobs: Blobs
) -> None:
    request = seed.request()
    images = [seed.completed(request.id, number) for number in (1, 2, 3)]
    for image in (images[0], images[2]):
        seed.put_rendition(blobs, image, b"content")
    seed.add(database, [request, *images, seed.product(request.id, 1, [1, 2, 3])])

    file = opened(client.get(f"/v1/requests/{request.id}/outputs.zip"))

    assert file.namelist() == ["1_Product 1_1.jpg", "1_Product 1_3.jpg", "MISSING.txt"]
    assert "1_Product 1_2.jpg" in file.read("MISSING.txt").decode()


def test_a_store_that_fails_half_way_breaks_the_download_off(
    database: Database, client: httpx.Client, blobs: Blobs
) -> None:
    request = seed.request()
    images = [seed.completed(request.id, number) for number in (1, 2)]
    seed.put_rendition(blobs, images[0], b"x" * 1_000_000)
    # A folder where a file should be: the disk's own kind of failure.
    blobs.put(f"{request.id}/out/{images[1].rendition_sha256}.jpg/in-the-way", b"", durable=False)
    seed.add(database, [request, *images, seed.product(request.id, 1, [1, 2])])

    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"/v1/requests/{request.id}/outputs.zip")


def test_nothing_yet_is_an_empty_archive(database: Database, client: httpx.Client) -> None:
    request = seed.request()
    seed.add(database, [request, seed.pending(request.id, 1), seed.product(request.id, 1, [1])])

    assert opened(client.get(f"/v1/requests/{request.id}/outputs.zip")).namelist() == []
    assert client.head(f"/v1/requests/{request.id}/outputs.zip").content == b""
