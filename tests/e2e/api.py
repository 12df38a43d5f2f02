"""A client of the public API as a shop would write it, over the real gateway."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from tests.stack import until

TERMINAL = ("completed", "failed", "cancelled")
HEADER = ("S. No.", "Product Name", "Input Image Urls")


def manifest(products: Sequence[tuple[str, str, Sequence[str]]]) -> bytes:
    """A CSV as a spreadsheet writes it: the URLs in one quoted cell."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADER)
    writer.writerows((serial, name, ",".join(urls)) for serial, name, urls in products)
    return text.getvalue().encode()


@dataclass(frozen=True)
class Api:
    """`http` is bound to the gateway's address."""

    http: httpx.Client

    def upload(self, csv_bytes: bytes, **options: str) -> str:
        """Upload as a form; the request's id."""
        answer = self.http.post("/v1/requests", files={"file": ("products.csv", csv_bytes, "text/csv")}, data=options)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["request_id"])

    def get(self, request_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/v1/requests/{request_id}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def finished(self, request_id: str, *, within: float = 60) -> dict[str, Any]:
        """Wait until the request is terminal; how it ended."""

        def ended() -> dict[str, Any] | None:
            request = self.get(request_id)
            return request if request["status"] in TERMINAL else None

        return until(ended, within=within, every=0.2)

    def items(self, path: str, **query: str) -> Iterator[dict[str, Any]]:
        """All items of a paged list."""
        page: Mapping[str, Any] = {"next_page_token": ""}
        while page["next_page_token"] is not None:
            token = {"page_token": page["next_page_token"]} if page["next_page_token"] else {}
            answer = self.http.get(path, params={**query, **token})
            assert answer.status_code == 200, answer.text
            page = answer.json()
            yield from page["items"]

    def output_csv(self, request_id: str) -> list[dict[str, str]]:
        answer = self.http.get(f"/v1/requests/{request_id}/output.csv")
        assert answer.status_code == 200, answer.text
        return list(csv.DictReader(io.StringIO(answer.text)))
