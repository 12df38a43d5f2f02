"""The requests of a run: manifests drawn from the seed, with the expected end of each of their URLs.

Every image is expected to succeed unless its picture is at fault: an outage may cost time, never an image.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from tests.origin import Behaviour, Origin, body, claim, drip, endless, late, reset_after, status

REFUSED = ("ftp://example.test/a.jpg", "not a url")
HOOKS = ("ok", "ok", "500", "302", "410", "slow", "close")
URLS_A_ROW = (1, 1, 2, 3)
REQUESTS = 7


@dataclass(slots=True)
class Row:
    """One row of the manifest; `urls` in its order, doubles included."""

    serial: str
    name: str
    urls: list[str]
    refused: bool = False


@dataclass(slots=True)
class Order:
    """A request to send. `expected` says for each URL which error it ends with, None for a rendition."""

    key: str
    at: float
    hook: str | None
    rows: list[Row] = field(default_factory=list)
    expected: dict[str, str | None] = field(default_factory=dict)
    cancel: bool = False

    @property
    def products(self) -> list[Row]:
        return [row for row in self.rows if not row.refused]

    def manifest(self) -> bytes:
        return manifest((row.serial, row.name, row.urls) for row in self.rows)


class Shelf:
    """The pictures of the origin, made once, and the URLs of each run. `base` is how the stack reaches the origin."""

    def __init__(self, origin: Origin, base: str) -> None:
        self._origin = origin
        self._base = base
        self._bodies = [draw(f"{number}.jpg", (200, 200)) for number in range(10)]
        for number, data in enumerate(self._bodies):
            origin.add(f"/good/{number}.jpg", data)

    def good(self, random: Random, tag: str) -> str:
        """A URL of its own for one of the pictures."""
        return f"{self._base}/good/{random.randrange(len(self._bodies))}.jpg?{tag}"

    def odd(self, random: Random, tag: str) -> tuple[str, str | None]:
        """A URL that misbehaves, and the error that it ends with."""
        name = random.choice(list(_ODD))
        behaviours, error = _ODD[name]
        path = f"/odd/{name}/{tag}.jpg"
        self._origin.on(path, *behaviours(random.choice(self._bodies)))
        return f"{self._base}{path}", error


DRIPS, DRIP_EVERY = 12, 0.25
"""3 s for a picture: slower than a first fetch may be, and faster than a later one."""
_ODD: dict[str, tuple[Callable[[bytes], list[Behaviour]], str | None]] = {
    "error500": (lambda data: [status(500), body(data)], None),
    "busy429": (lambda data: [status(429, headers={"Retry-After": "1"}), body(data)], None),
    "reset": (lambda data: [reset_after(data, sent=900), body(data)], None),
    "short": (lambda data: [claim(data, length=len(data) + 9), body(data)], None),
    "late": (lambda data: [late(body(data), seconds=3)], None),
    "drip": (lambda data: [drip(data, every=DRIP_EVERY, size=len(data) // DRIPS + 1)], None),
    "endless": (lambda _: [endless], "too_large"),
    "missing": (lambda _: [status(404)], "http_status"),
    "html": (lambda _: [body(b"<html>no picture</html>")], "not_an_image"),
    "broken": (lambda data: [body(data[: len(data) // 3])], "corrupt_image"),
}


def orders(seed: int, tag: str, shelf: Shelf, *, seconds: float, requests: int = REQUESTS) -> list[Order]:
    """The requests of a run, spread over `seconds`. `tag` makes keys and URLs those of this run alone."""
    random = Random(f"load {seed}")
    made = []
    for number in range(requests):
        rows = random.choice((3, 20, 40, 60, 110))
        order = Order(f"{tag}-{number}", at=seconds * number / requests, hook=random.choice((*HOOKS, None)))
        order.cancel = number == requests - 1 and random.random() < 0.5
        _fill(order, random, shelf, rows=rows)
        made.append(order)
    return made


def _fill(order: Order, random: Random, shelf: Shelf, *, rows: int) -> None:
    known: list[str] = []
    for number in range(1, rows + 1):
        row = Row(f"{number}", f"Product {number}", [])
        if number > 1 and random.random() < 0.04:
            row.urls, row.refused = [random.choice(REFUSED)], True
        else:
            row.urls = [_url(order, random, shelf, known) for _ in range(random.choice(URLS_A_ROW))]
        order.rows.append(row)


def _url(order: Order, random: Random, shelf: Shelf, known: list[str]) -> str:
    if known and random.random() < 0.1:
        return random.choice(known)
    tag = f"{order.key}-{len(known)}"
    url, error = shelf.odd(random, tag) if random.random() < 0.05 else (shelf.good(random, tag), None)
    order.expected[url] = error
    known.append(url)
    return url
