"""A product with its images by position, as the streamed answers (CSV, zip) read it; pure."""

from typing import NamedTuple


class PlacedImage(NamedTuple):
    """What a streamed answer needs of an image."""

    number: int
    url: str
    state: str
    error_code: str | None
    error_detail: str | None
    rendition_format: str | None
    rendition_sha256: str | None


class PlacedProduct(NamedTuple):
    """A product with its images by position."""

    row: int
    serial_number: str
    name: str
    images: list[PlacedImage]
