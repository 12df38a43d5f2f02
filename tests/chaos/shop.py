"""The client's side of a run: sends each order until it is accepted, follows it, and records contradictory answers."""

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tests.api import TERMINAL, ApiError, Client, Refused
from tests.chaos.load import Order

SEND_WITHIN = 90.0
PAUSE = 0.5


@dataclass(slots=True)
class Accepted:
    """A request that was answered 202."""

    order: Order
    request_id: str
    seen: list[str] = field(default_factory=list)  # violations
    progress: float = 0.0
    run: int = 1
    status: str = "pending"
    wanted_run: int = 1

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL and self.run >= self.wanted_run

    def note(self, view: Mapping[str, Any]) -> None:
        """Compare an answer of `GET` with the one before."""
        if view["run"] < self.run:
            self.seen.append(f"run {self.run} became {view['run']}")
        if view["run"] > self.run:
            self.run, self.progress, self.status = view["run"], 0.0, "pending"
        if view["progress"] < self.progress:
            self.seen.append(f"progress {self.progress} became {view['progress']}")
        if self.status in TERMINAL and view["status"] != self.status:
            self.seen.append(f"{self.status} became {view['status']}")
        if view["status"] in TERMINAL and view["images"]["pending"]:
            self.seen.append(f"{view['status']} with {view['images']['pending']} pending images")
        self.progress, self.status = view["progress"], view["status"]


class Shop:
    """One per run. `gateway` and `hooks` are base URLs, `key` is an API key.

    `answers` counts every answer by its status, 0 where none came; `unexcused` are those of 5xx that are not 503 with
    Retry-After.
    """

    def __init__(self, gateway: str, hooks: str, *, key: str | None = None) -> None:
        self._client = Client(gateway, seconds=15, key=key)
        self._hooks = hooks
        self._accepted: list[Accepted] = []
        self.gave_up: list[str] = []
        self.answers: Counter[int] = Counter()
        self.unexcused: list[str] = []
        self._senders: list[threading.Thread] = []
        self._stopping = threading.Event()

    def open(self, orders: list[Order]) -> None:
        """Send every order when its time comes, and follow what was accepted, in threads."""
        begun = time.monotonic()
        self._senders = [threading.Thread(target=self._send_at, args=(order, begun), daemon=True) for order in orders]
        for thread in [*self._senders, threading.Thread(target=self._follow, daemon=True)]:
            thread.start()

    def close(self) -> None:
        self._stopping.set()

    def wait(self, *, within: float) -> None:
        """Return when everything is sent and terminal, or after so many seconds."""
        deadline = time.monotonic() + within
        while any(thread.is_alive() for thread in self._senders) or not all(one.terminal for one in self.accepted()):
            if time.monotonic() > deadline:
                return
            time.sleep(0.2)

    def accepted(self) -> list[Accepted]:
        return list(self._accepted)

    def insist(self, method: str, path: str, *, body: bytes | None = None, key: str | None = None) -> tuple[int, Any]:
        """Call again until the answer is neither an outage nor a refusal for now."""
        deadline = time.monotonic() + SEND_WITHIN
        while True:
            status, answer = self._call(method, path, body=body, key=key)
            passing = status == 0 or status >= 500 or status == 429 or (status == 409 and key is not None)
            if not passing or time.monotonic() > deadline or self._stopping.wait(PAUSE):
                return status, answer

    def retry(self, accepted: Accepted) -> None:
        """Run the failed images again; from here on a second event is expected."""
        status, _ = self.insist("POST", f"/v1/requests/{accepted.request_id}/retry")
        if status in (200, 409):  # 409: the answer was lost, and the call repeated
            accepted.wanted_run = 2

    def _call(self, method: str, path: str, *, body: bytes | None = None, key: str | None = None) -> tuple[int, Any]:
        """Status and JSON: 200 for any success, 0 if no answer came."""
        headers = {"Content-Type": "text/csv"} | ({"Idempotency-Key": key} if key else {})
        status, answer = 200, None
        try:
            answer = json.loads(self._client.call(method, path, body=body, headers=headers) or b"null")
        except Refused as refusal:
            status = refusal.status
            if status >= 500 and (status != 503 or not refusal.retry_after):
                self.unexcused.append(f"{method} {refusal}, Retry-After: {refusal.retry_after}")
        except (ApiError, ValueError):
            status = 0
        self.answers[status] += 1
        return status, answer

    def _send_at(self, order: Order, begun: float) -> None:
        if self._stopping.wait(max(0.0, begun + order.at - time.monotonic())):
            return
        options = {"on_invalid": "skip"}
        if order.hook:
            options["webhook_url"] = f"{self._hooks}/hook/{order.hook}/{order.key}"
        path = f"/v1/requests?{urlencode(options)}"
        status, answer = self.insist("POST", path, body=order.manifest(), key=order.key)
        if status != 200:
            self.gave_up.append(f"{order.key}: {status}")
            return
        self._accepted.append(Accepted(order, answer["request_id"]))
        if order.cancel:
            self.insist("POST", f"/v1/requests/{answer['request_id']}/cancel")

    def _follow(self) -> None:
        """Read each request again and again, and one that has ended; an outage shows nothing, a refusal is noted."""
        while not self._stopping.wait(0.1):
            ended = [accepted for accepted in self.accepted() if accepted.terminal][:1]
            for accepted in [one for one in self.accepted() if not one.terminal] + ended:
                status, view = self._call("GET", f"/v1/requests/{accepted.request_id}")
                if status == 200:
                    accepted.note(view)
                elif 400 <= status < 500 and status != 429:
                    accepted.seen.append(f"GET answered {status}")
