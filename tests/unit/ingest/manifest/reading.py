"""Read a manifest from bytes or text, for the tests of every step."""

import io
from dataclasses import replace

from services.ingest.manifest.errors import RowError
from services.ingest.manifest.read import read_manifest
from services.ingest.manifest.rows import Limits, Product

HEADER = "S. No.,Product Name,Input Image Urls\n"
A, B, C = (f"https://a.example/{name}.jpg" for name in "abc")


def read(data: bytes | str, limits: Limits | None = None) -> list[Product | RowError]:
    file = io.BytesIO(data.encode() if isinstance(data, str) else data)
    found = list(read_manifest(file, limits or Limits()))
    assert not file.closed, "the file is its owner's to close"
    return found


def products(data: bytes | str) -> list[tuple[str, str, list[str]]]:
    """The products of a manifest in which nothing is wrong."""
    found = read(data)
    assert [item for item in found if isinstance(item, RowError)] == []
    return [(item.serial_number, item.name, list(item.urls)) for item in found if isinstance(item, Product)]


def errors(data: bytes | str, limits: Limits | None = None) -> list[RowError]:
    """What is wrong, without the sentence for a person."""
    return [replace(item, detail="") for item in read(data, limits) if isinstance(item, RowError)]
