from datetime import UTC, datetime
from typing import Any

import pytest

from deploy.demo import catalogue
from deploy.demo.checks import Rendition, Seen
from deploy.demo.receiver import Arrival

ORIGIN = "127.0.0.1:8099"
REQUEST: dict[str, Any] = {"request_id": "r-1", "status": "completed", "outcome": "partial"}
ARRIVAL = Arrival(
    at=datetime.now(UTC),
    headers={"webhook-id": "e-1"},
    body=b'{"type": "request.completed", "data": {"request_id": "r-1"}}',
    shown=REQUEST,
)


def _image(name: str) -> dict[str, Any]:
    missing = name == catalogue.MISSING
    return {
        "url": catalogue.url_of(name, ORIGIN),
        "status": "failed" if missing else "completed",
        "output_url": None if missing else f"http://gateway/files/{name}",
        "error": {"code": "http_status", "detail": "404"} if missing else None,
    }


def _output_csv() -> str:
    lines = [",".join(catalogue.OUTPUT_HEADER)]
    for product in catalogue.PRODUCTS:
        inputs = ",".join(catalogue.url_of(name, ORIGIN) for name in product.files)
        outputs = ",".join(_image(name)["output_url"] or "" for name in product.files)
        lines.append(f'{product.serial_number},"{product.name}","{inputs}","{outputs}"')
    return "".join(f"{line}\r\n" for line in lines)


@pytest.fixture
def seen() -> Seen:
    """A run in which every promise held."""
    names = [name for name in catalogue.files() if name != catalogue.MISSING]
    return Seen(
        origin=ORIGIN,
        sources=dict.fromkeys(names, 1000),
        request=REQUEST,
        products=[{"images": [_image(name) for name in product.files]} for product in catalogue.PRODUCTS],
        output_csv=_output_csv(),
        renditions={name: Rendition(bytes=400, pixels=catalogue.size_of(name)) for name in names},
        arrivals=[ARRIVAL],
        deliveries=[{"status": "delivered", "attempts": [{}]}],
    )
