"""The clients of the overload run: shoppers who behave, floods, and slow ones, all in one event loop.

Each account has an address of its own on the loopback, as clients of different houses have.
"""

import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.api import TERMINAL
from tests.chaos.load import Order, Row
from tests.chaos.shop import Accepted
from tests.chaos.wire import ANSWERED_WITHIN, Answer, NoAnswer, Wire, read_answer, read_head

POLL_SECONDS = 0.5
SHOPPERS_IMAGES = 20
IN_FLIGHT = 100
"""Calls of a flood at once; what would be more is not sent, and counted."""
WRONG_KEYS = (f"ht_{'a' * 12}_{'A' * 43}", "nonsense", "")
ENDED = ("slow upload", "unread download", "slow account's events")
"""Calls that may be ended without an answer, because they give way."""


@dataclass(slots=True)
class Book:
    """Everything that was answered. `reads` are the seconds of the shoppers' status reads."""

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    broken: Counter[tuple[str, str]] = field(default_factory=Counter)
    reads: list[float] = field(default_factory=list)
    accepted: list[Accepted] = field(default_factory=list)
    offered: int = 0
    unsent: int = 0
    unserved: int = 0
    codes: Counter[str] = field(default_factory=Counter)

    def note(self, kind: str, answer: Answer) -> Answer:
        self.answers[kind, str(answer.status)] += 1
        problem = answer.headers.get("content-type") == "application/problem+json"
        if answer.status >= 400 and not problem:
            self.broken["refusals_are_problems", f"{kind}: {answer.status} {answer.body[:100]!r}"] += 1
        if answer.status in (429, 503) and not answer.headers.get("retry-after", "").isdigit():
            self.broken["refusals_say_when", f"{kind}: {answer.status} {answer.body[:160]!r}"] += 1
        if answer.status >= 500 and answer.status != 503:
            self.broken["no_other_server_error", f"{kind}: {answer.status} {answer.body[:160]!r}"] += 1
        if answer.status in (429, 503) and problem:
            self.codes[f"{answer.status} {json.loads(answer.body)['code']}"] += 1
        return answer

    def lost(self, kind: str, error: NoAnswer) -> None:
        self.answers[kind, "no answer"] += 1
        if kind not in ENDED:
            self.broken["every_call_is_answered", f"{kind}: {error}"] += 1


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    address: str
    key: str


class Crowd:
    """`pictures` and `hooks` are base URLs: of the image host, and of the good and the slow receiver of webhooks."""

    def __init__(self, port: int, tag: str, pictures: str, hooks: tuple[str, str], *, images: int) -> None:
        self.book = Book()
        self._port = port
        self._tag = tag
        self._pictures = pictures
        self._hooks = hooks
        self._images = images
        self._numbers = count()
        self._requests = defaultdict[str, list[str]](list)
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)

    async def stop(self) -> None:
        """End them all. An upload that is in flight may have been accepted: the database knows.

        Raises:
            Exception: a client ended by itself, with this error.

        """
        failed = [task.exception() for task in self._tasks if task.done() and not task.cancelled()]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for error in filter(None, failed):
            raise error

    def wire(self, account: Account) -> Wire:
        return Wire(self._port, account.address, account.key)

    async def upload(self, wire: Wire, kind: str, images: int, hook: str | None) -> Answer | None:
        """Send a new order; None if no answer came. What is accepted is in the book."""
        key = f"{self._tag}-{next(self._numbers)}"
        order = Order(key, at=0.0, hook=hook)
        urls = [f"{self._pictures}/{key}/{number}.jpg" for number in range(images)]
        order.rows = [Row(f"{number}", "Product", [url]) for number, url in enumerate(urls)]
        order.expected = dict.fromkeys(urls)
        path = "/v1/requests" + (f"?webhook_url={hook}/{key}" if hook else "")
        body = order.manifest()
        try:
            sent = await wire.call("POST", path, body, Content_Type="text/csv", Idempotency_Key=key)
            answer = self.book.note(kind, sent)
        except NoAnswer as error:
            self.book.lost(kind, error)
            return None
        if answer.status == 202:
            request_id = json.loads(answer.body)["request_id"]
            self.book.accepted.append(Accepted(order, request_id))
            self._requests[wire.key].append(request_id)
        return answer

    async def shopper(self, account: Account) -> None:
        """Upload, poll until it is terminal, fetch the result; waits as long as a refusal says."""
        async with self.wire(account) as wire:
            while True:
                answer = await self.upload(wire, "shopper's upload", SHOPPERS_IMAGES, self._hooks[0])
                if answer is None or answer.status != 202:
                    self.book.unserved += 1
                    await asyncio.sleep(float(answer.headers.get("retry-after", 1)) if answer else 1.0)
                    continue
                request_id = json.loads(answer.body)["request_id"]
                await self._poll(wire, request_id)
                for name in ("output.csv", "outputs.zip"):
                    await self._get(wire, "shopper's download", f"/v1/requests/{request_id}/{name}")

    async def _poll(self, wire: Wire, request_id: str) -> None:
        while True:
            begun = time.monotonic()
            answer = await self._get(wire, "shopper's status read", f"/v1/requests/{request_id}")
            if answer is not None and answer.status == 200:
                self.book.reads.append(time.monotonic() - begun)
                if json.loads(answer.body)["status"] in TERMINAL:
                    return
            await asyncio.sleep(POLL_SECONDS)

    async def _get(self, wire: Wire, kind: str, path: str) -> Answer | None:
        try:
            return self.book.note(kind, await wire.call("GET", path))
        except NoAnswer as error:
            self.book.lost(kind, error)
            return None

    async def flood(self, account: Account, rate: float) -> None:
        """So many images a second, whatever is answered, and status reads besides."""
        idle: list[Wire] = []
        flying = 0
        begun = time.monotonic()

        async def one() -> None:
            nonlocal flying
            wire = idle.pop() if idle else self.wire(account)
            try:
                answer = await self.upload(wire, "flood's upload", self._images, self._hook())
                if answer is not None and answer.status == 202:
                    path = f"/v1/requests/{json.loads(answer.body)['request_id']}"
                    await self._get(wire, "flood's status read", path)
            finally:
                idle.append(wire)
                flying -= 1

        for number in count(1):
            await asyncio.sleep(max(0.0, begun + number * self._images / rate - time.monotonic()))
            self.book.offered += self._images
            if flying < IN_FLIGHT:
                flying += 1
                self.start(one())
            else:
                self.book.unsent += self._images
            if number % 50 == 0:
                self._tasks -= {task for task in self._tasks if task.done() and not task.exception()}

    def _hook(self) -> str | None:
        """Most have none, some a good receiver, few a slow one."""
        good, slow = self._hooks
        return random.choices((None, good, slow), (80, 18, 2))[0]

    async def follower(self, account: Account, kind: str) -> None:
        """Event streams of the account's newest request, one after the other."""
        own = self._requests[account.key]

        async def follow(wire: Wire) -> Answer:
            return await read_answer((await wire.begin("GET", f"/v1/requests/{own[-1]}/events"))[0])

        await self._again(account, kind, follow, ready=lambda: bool(own), within=600)

    async def slow_upload(self, account: Account) -> None:
        """A large body, 100 bytes a second."""

        async def send(wire: Wire) -> Answer:
            reader, writer = await wire.begin("POST", "/v1/requests", Content_Type="text/csv", Content_Length="900000")
            answer = asyncio.ensure_future(read_answer(reader))
            try:
                while not answer.done():
                    writer.write(b"x" * 100)
                    await asyncio.wait({answer}, timeout=1)
                return await answer
            finally:
                answer.cancel()

        await self._again(account, "slow upload", send, within=600)

    async def unread_download(self, account: Account, path: str) -> None:
        """Asks for it all and takes 2 kB a second."""

        async def take(wire: Wire) -> Answer:
            reader, _ = await wire.begin("GET", path)
            status, headers = await read_head(reader)
            if status != 200:
                return Answer(status, headers, await reader.readexactly(int(headers["content-length"])))
            async for _ in _slowly(reader):
                pass
            return Answer(status, headers, b"")

        await self._again(account, "unread download", take, within=900)

    async def stranger(self, account: Account) -> None:
        """Wrong keys, ten a second."""
        wires = [Wire(self._port, account.address, key) for key in WRONG_KEYS]
        while True:
            for wire in wires:
                answer = await self._get(wire, "wrong key", "/v1/requests")
                if answer is not None and answer.status not in (401, 429, 503):
                    self.book.broken["wrong_keys_are_refused", f"{answer.status}"] += 1
                await asyncio.sleep(0.1)

    async def _again(
        self,
        account: Account,
        kind: str,
        call: Callable[[Wire], Awaitable[Answer]],
        *,
        within: float = ANSWERED_WITHIN,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        """Such a call after the other, each on a connection of its own."""
        while True:
            async with self.wire(account) as wire:
                try:
                    async with asyncio.timeout(within):
                        if ready():
                            self.book.note(kind, await call(wire))
                except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                    self.book.lost(kind, NoAnswer(f"{type(error).__name__} {error}".strip()))
            await asyncio.sleep(1)


async def _slowly(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while block := await reader.read(20_000):
        yield block
        await asyncio.sleep(10)
