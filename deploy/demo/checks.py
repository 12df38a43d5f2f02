"""The demo's promises, checked against what was seen."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from deploy.demo import catalogue
from deploy.demo.receiver import JSON, Arrival


@dataclass(frozen=True, slots=True)
class Check:
    """One promise; `failure` says what was seen instead, None if it held."""

    promise: str
    failure: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendition:
    """A downloaded rendition; `pixels` are width and height, None if it does not decode."""

    bytes: int
    pixels: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Everything the demo saw. `sources`: bytes by file name; `renditions` too; `origin`: `host:port`."""

    origin: str
    sources: Mapping[str, int]
    request: JSON
    products: Sequence[JSON]
    output_csv: str
    renditions: Mapping[str, Rendition]
    arrivals: Sequence[Arrival]
    deliveries: Sequence[JSON]

    @property
    def images(self) -> dict[str, JSON]:
        return images_by_name(self.products)


def images_by_name(products: Sequence[JSON]) -> dict[str, JSON]:
    """By file name; an image of two products counts once."""
    return {str(image["url"]).rpartition("/")[2]: image for product in products for image in product["images"]}


def check_all(seen: Seen) -> list[Check]:
    """Every promise of the demo, in the order in which things happened."""
    reachable = len(seen.sources)
    return [
        Check("the request completed, with outcome `partial`", _request(seen)),
        Check(f"{reachable} renditions, each decodes and is smaller than its source", _first(_renditions(seen))),
        Check(f"{catalogue.MISSING}, a 404, failed alone, with code http_status", _missing(seen)),
        Check("the output CSV has every product in input order, and an empty place for the 404", _output(seen)),
        Check("one webhook arrived, signature verified", _webhook(seen)),
        Check("GET showed the terminal state when the webhook arrived", _order(seen)),
        Check("the API records one delivery, delivered at the first attempt", _delivery(seen)),
    ]


def _request(seen: Seen) -> str | None:
    shown = (seen.request["status"], seen.request["outcome"])
    return None if shown == ("completed", "partial") else f"it is {shown[0]}, with outcome {shown[1]}"


def _renditions(seen: Seen) -> Iterator[str]:
    for name, size in seen.sources.items():
        image, rendition = seen.images.get(name), seen.renditions.get(name)
        if image is None:
            yield f"{name} is in no product"
        elif image["status"] != "completed" or rendition is None:
            yield f"{name} is {image['status']}: {image['error']}"
        elif rendition.pixels != catalogue.size_of(name):
            yield f"the rendition of {name} decodes to {rendition.pixels}"
        elif rendition.bytes >= size:
            yield f"{name} had {size} bytes and has {rendition.bytes} now"


def _missing(seen: Seen) -> str | None:
    failed = {
        name: (image["error"] or {}).get("code") for name, image in seen.images.items() if not image["output_url"]
    }
    return None if failed == {catalogue.MISSING: "http_status"} else f"without rendition: {failed}"


def _output(seen: Seen) -> str | None:
    found = list(csv.reader(io.StringIO(seen.output_csv, newline="")))
    expected = [list(catalogue.OUTPUT_HEADER), *(_expected_row(seen, product) for product in catalogue.PRODUCTS)]
    for number, (row, wanted) in enumerate(zip(found, expected, strict=False)):
        if row != wanted:
            return f"row {number} is {row}, not {wanted}"
    return None if len(found) == len(expected) else f"it has {len(found)} lines, not {len(expected)}"


def _expected_row(seen: Seen, product: catalogue.Product) -> list[str]:
    images = [seen.images.get(name, {}) for name in product.files]
    inputs = ",".join(catalogue.url_of(name, seen.origin) for name in product.files)
    return [product.serial_number, product.name, inputs, ",".join(image.get("output_url") or "" for image in images)]


def _webhook(seen: Seen) -> str | None:
    if len(seen.arrivals) != 1:
        return f"{len(seen.arrivals)} arrived"
    arrival = seen.arrivals[0]
    if arrival.refusal:
        return arrival.refusal
    event = (arrival.event["type"], arrival.event["data"]["request_id"])
    return None if event == ("request.completed", seen.request["request_id"]) else f"it was {event[0]} of {event[1]}"


def _order(seen: Seen) -> str | None:
    shown = [arrival.status_shown for arrival in seen.arrivals]
    return None if shown == ["completed"] else f"it showed {shown}"


def _delivery(seen: Seen) -> str | None:
    found = [(delivery["status"], len(delivery["attempts"])) for delivery in seen.deliveries]
    return None if found == [("delivered", 1)] else f"it shows, with attempts: {found}"


def _first(failures: Iterator[str]) -> str | None:
    return next(failures, None)
