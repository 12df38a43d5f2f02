"""The calls of the API, typed."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Self, Unpack, cast
from urllib.parse import quote, urlencode
from uuid import uuid4

import httpx

from halftone_client.downloads import downloaded, save, unpack
from halftone_client.errors import HalftoneError, Refused
from halftone_client.events import SILENCE, follow
from halftone_client.idempotency import key_of
from halftone_client.shapes import (
    Account,
    Delivery,
    Image,
    ImageStatus,
    Options,
    Product,
    Redelivery,
    Request,
    RowError,
    Sort,
    Status,
    Validation,
)
from halftone_client.transport import Pause, Transport, pause
from halftone_client.upload import Advance, Counted, opened

IN_FLIGHT = frozenset({"idempotency_key_in_flight"})
OFTEN = 10.0
"""Seconds; below the 15 s between two heartbeats of an event stream."""
Source = str | Path | IO[bytes]


class Submitted(Request):
    """A request as its 202 showed it; `replayed`: the service knew this upload, nothing new was made."""

    replayed: bool


def _nothing(_: int) -> None:
    """Progress that is not shown."""


class Client:
    """Speaks to the service at `base_url`. Threads may share it; close it, or use it with `with`.

    `key`: an API key (`ht_...`), where the service requires one. `patience`: seconds for which a call is repeated while
    the service asks to come back later (429, 503), `away`: while it does not answer at all.

    Every call raises Refused for an answer of 400 and above (404: there is no such request, or it is another account's)
    and Unreachable where there is none; an iterator raises them while it is read. An address or a key that cannot be
    one is a HalftoneError of the constructor.
    """

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8080",
        *,
        key: str | None = None,
        patience: float = 60.0,
        away: float = 10.0,
        pause: Pause = pause,
    ) -> None:
        self._transport = Transport(base_url, key=key, patience=patience, away=away, pause=pause)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._transport.http.close()

    def be_patient(self, *, patience: float, away: float) -> None:
        """Change for how long calls are repeated from now on."""
        self._transport.patience, self._transport.away = patience, away

    @property
    def base_url(self) -> str:
        return self._transport.base_url

    def page_of(self, request_id: str) -> str:
        """Where a person looks at the request."""
        return f"{self.base_url}/#/requests/{request_id}"

    def submit(
        self,
        manifest: Source,
        *,
        idempotency_key: str | None = None,
        new: bool = False,
        advance: Advance = _nothing,
        **options: Unpack[Options],
    ) -> Submitted:
        """Send a manifest, streamed from its file; sent again within 24 h it gives the same request.

        `idempotency_key` is made of the content, the options and the webhook, unless it is given or a `new` request is
        wanted. `advance` is called with the bytes that were read.

        Raises:
            Refused: with status 422 and `errors` for invalid rows.
            Unreachable, OSError

        """
        with opened(manifest) as file:
            key = idempotency_key or (str(uuid4()) if new else key_of(file, options))
            answer = self._upload(file, options, {"Idempotency-Key": key}, advance)
        replayed = answer.headers.get("idempotent-replayed") == "true"
        return cast("Submitted", _json(answer) | {"replayed": replayed})

    def validate(self, manifest: Source, *, advance: Advance = _nothing, **options: Unpack[Options]) -> Validation:
        """Check a manifest; nothing is stored.

        Raises:
            Refused, Unreachable, OSError

        """
        with opened(manifest) as file:
            return cast("Validation", _json(self._upload(file, {**options, "validate_only": "true"}, {}, advance)))

    def request(self, request_id: str) -> Request:
        """How far a request is."""
        return cast("Request", self._get(f"/v1/requests/{_id(request_id)}"))

    def follow(self, request_id: str) -> Iterator[Request]:
        """The states of a request as they come, the terminal one last."""
        return follow(self._transport, _id(request_id), ask=lambda: self.request(request_id))

    def wait(
        self, request_id: str, *, timeout: float | None = None, watch: Callable[[Request], object] = lambda _: None
    ) -> Request:
        """The terminal state of a request; `watch` is called with each state before it, too.

        It follows server-sent events, and asks every two seconds where they do not come through.

        Raises:
            TimeoutError: it was not terminal after `timeout` seconds, and up to OFTEN more.
            Unreachable: the service was away for longer than the client's patience; the request goes on.

        """
        deadline = None if timeout is None else time.monotonic() + timeout
        silence = SILENCE if timeout is None else min(OFTEN, timeout)
        for request in follow(self._transport, _id(request_id), ask=lambda: self.request(request_id), silence=silence):
            watch(request)
            if deadline is not None and time.monotonic() > deadline and request["finished_at"] is None:
                raise TimeoutError(f"the request is not finished after {timeout:g} s: {request['images']}")
        return request

    def requests(self, *, status: Status | None = None, page_size: int = 50) -> Iterator[Request]:
        """All requests of the account, newest first; a page is read when it is needed."""
        return cast("Iterator[Request]", self._items("/v1/requests", status=status, page_size=page_size))

    def images(
        self,
        request_id: str,
        *,
        status: ImageStatus | None = None,
        sort: Sort | None = None,
        kept_original: bool | None = None,
        page_size: int = 200,
    ) -> Iterator[Image]:
        """The images of a request; `-saved` begins with those that became smaller by most bytes."""
        query = {
            "status": status,
            "sort": sort,
            "kept_original": None if kept_original is None else f"{kept_original}".lower(),
        }
        return cast(
            "Iterator[Image]", self._items(f"/v1/requests/{_id(request_id)}/images", **query, page_size=page_size)
        )

    def products(self, request_id: str) -> Iterator[Product]:
        """The rows in input order, each with its images."""
        return cast("Iterator[Product]", self._items(f"/v1/requests/{_id(request_id)}/products"))

    def rejected(self, request_id: str) -> Iterator[RowError]:
        """The rows that `on_invalid=skip` left out."""
        return cast("Iterator[RowError]", self._items(f"/v1/requests/{_id(request_id)}/rejected"))

    def deliveries(self, request_id: str) -> Iterator[Delivery]:
        """The webhooks of a request, with their bodies and attempts."""
        return cast("Iterator[Delivery]", self._items(f"/v1/requests/{_id(request_id)}/deliveries"))

    def retry(self, request_id: str) -> Request:
        """Run the failed and cancelled images again; Refused with 409 if there are none or it still runs."""
        return cast("Request", _json(self._transport.call("POST", f"/v1/requests/{_id(request_id)}/retry")))

    def cancel(self, request_id: str) -> Request:
        """Stop a request; Refused with 409 if it is finished."""
        return cast("Request", _json(self._transport.call("POST", f"/v1/requests/{_id(request_id)}/cancel")))

    def delete(self, request_id: str) -> None:
        """Erase rows and files of a request; one that is gone already is no error. Refused with 409 while it runs."""
        try:
            self._transport.call("DELETE", f"/v1/requests/{_id(request_id)}", repeatable=True)
        except Refused as refusal:
            if refusal.status != 404:
                raise

    def redeliver(self, delivery_id: str) -> Redelivery:
        """Send a webhook again, whatever its status."""
        return cast("Redelivery", _json(self._transport.call("POST", f"/v1/deliveries/{_id(delivery_id)}/redeliver")))

    def account(self) -> Account:
        """Whose key it is, its limits and what counts against them."""
        return cast("Account", self._get("/v1/account"))

    def health(self) -> tuple[dict[str, str], float]:
        """The headers of the gateway's answer, and the seconds that it took; asked once."""
        begun = time.monotonic()
        answer = self._transport.call("GET", "/healthz")
        return dict(answer.headers), time.monotonic() - begun

    def download_csv(
        self, request_id: str, path: str | Path, *, details: bool = False, advance: Advance = _nothing
    ) -> int:
        """Write the output CSV; `details` adds status and errors. The number of bytes.

        Raises:
            Incomplete: it broke off as often as it was tried; what was at `path` is still there.
            OSError

        """
        query = "?details=1" if details else ""
        return self._saved(f"/v1/requests/{_id(request_id)}/output.csv{query}", path, advance)

    def download_zip(self, request_id: str, path: str | Path, *, advance: Advance = _nothing) -> int:
        """Write the renditions as one ZIP; the number of bytes."""
        return self._saved(f"/v1/requests/{_id(request_id)}/outputs.zip", path, advance)

    def download(self, image: Image, path: str | Path, *, advance: Advance = _nothing) -> int:
        """Write the rendition of one image; the number of bytes.

        Raises:
            HalftoneError: it has none.

        """
        if image["output_url"] is None:
            raise HalftoneError(f"image {image['number']} has no rendition: it is {image['status']}")
        # By the way we came: the service may know itself by another name than we do.
        return self._saved("/files/" + image["output_url"].partition("/files/")[2], path, advance)

    def download_images(self, request_id: str, folder: str | Path, *, advance: Advance = _nothing) -> list[str]:
        """Write every rendition into `folder`, named by product; the names of those that are gone.

        `advance` is called with 1 for each file, and with less than 0 where it begins again.
        """
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        target = f"/v1/requests/{_id(request_id)}/outputs.zip"
        return downloaded(self._transport, target, lambda chunks, tell: unpack(chunks, path, tell), advance)

    def _saved(self, target: str, path: str | Path, advance: Advance) -> int:
        return downloaded(self._transport, target, lambda chunks, tell: save(chunks, Path(path), tell), advance)

    def _upload(
        self, file: IO[bytes], options: Mapping[str, Any], headers: Mapping[str, str], advance: Advance
    ) -> httpx.Response:
        given = {name: str(value) for name, value in options.items() if value is not None}
        counted = Counted(file, advance)

        def arguments() -> Mapping[str, Any]:
            counted.seek(0)
            part = ("manifest.csv", cast("IO[bytes]", counted), "text/csv")
            return {"files": {"file": part}, "data": given, "headers": headers}

        return self._transport.call("POST", "/v1/requests", repeatable=True, again=IN_FLIGHT, arguments=arguments)

    def _get(self, target: str) -> Any:
        return _json(self._transport.call("GET", target))

    def _items(self, path: str, **query: Any) -> Iterator[Any]:
        given = {name: value for name, value in query.items() if value is not None}
        token: str | None = None
        while True:
            page = self._get(f"{path}?{urlencode(given | ({'page_token': token} if token else {}))}")
            yield from page["items"]
            if (token := page["next_page_token"]) is None:
                return


def _json(answer: httpx.Response) -> Any:
    """Raises HalftoneError for what is no JSON: something else answers at this address."""
    try:
        return answer.json()
    except ValueError:
        raise HalftoneError(f"what answers at {answer.url.copy_with(query=None)} is not Halftone") from None


def _id(text: str) -> str:
    """An id as a part of a path."""
    return quote(text.strip(), safe="")
