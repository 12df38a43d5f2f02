"""Worker and notifier without processes: their steps against a real database, with a broker that may do anything.

The caller decides what happens when.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar
from uuid import UUID

from sqlmodel import Session

from services.notifier import sweep
from services.notifier.close import close
from services.notifier.reconcile import Reconciler
from services.worker.claim import CLAIM_SECONDS, defer, take_over
from services.worker.dispatch import Pipeline, dispatch_group, dispatch_request
from services.worker.fetch import retry_delay
from services.worker.settle import Result, due_again, failed
from shared.db import Database
from shared.errors import ConnectFailure
from shared.lifecycle import WINDOW
from shared.messages import (
    Batch,
    CloseRequest,
    CompressBatch,
    DispatchGroup,
    DispatchRequest,
    Fetched,
    FetchedImage,
    FetchSlowBatch,
    GroupDone,
    Message,
    QuickBatch,
)
from tests.integration.batches import NOT_FOUND, compress_after, done, report, take
from tests.integration.seed import pass_time

T = TypeVar("T")
REFUSED = ConnectFailure("images.example refused the connection.")


@dataclass(slots=True)
class SecondHalf:
    """Of a pipeline, with what the first one hands on."""

    message: CompressBatch
    fetched: Fetched

    @property
    def numbers(self) -> list[int]:
        return [image.number for image in self.fetched.images]


Letter = Message | Pipeline | SecondHalf


@dataclass(slots=True)
class Work:
    """What a worker holds: the letter it came with, its claim, and attempts by image number."""

    letter: Letter
    batch: Batch
    attempts: dict[int, int]


@dataclass(slots=True)
class World:
    """`mail` is on its way, `hands` is being worked on; of a group the broker takes `takes` and then fails.

    `begun`: the claims of batches that began, as Valkey knows them; None while it cannot be asked.
    """

    database: Database
    requests: list[UUID]
    mail: list[Letter] = field(default_factory=list)
    hands: list[Work] = field(default_factory=list)
    takes: int | None = None
    begun: set[UUID] | None = field(default_factory=set)

    def receive(self, letter: Letter) -> None:
        """Do what the actor does with a message, up to where it begins to work on images."""
        match letter:
            case DispatchRequest():
                dispatch_request(self.database, self._send_group, letter.request_id, window=WINDOW)
            case DispatchGroup():
                number, seen = letter.group, letter.dispatch_no
                dispatch_group(
                    self.database, self._send_group, letter.request_id, group=number, seen=seen, window=WINDOW
                )
            case CloseRequest():
                self._reconciler.close(letter.request_id)
            case GroupDone():
                self.reconcile(letter.request_id, letter.group, dispatch_no=letter.dispatch_no)
            case SecondHalf():
                images = take_over(self.database, self._begun_before, letter.message, letter.fetched)
                self._begin(letter, letter.message, {image.number: 1 for image in images})
            case (fetch, _):
                self._begin(letter, fetch, take(self.database, fetch, [image.number for image in fetch.images]))
            case _:
                pass  # a delivery, which has tests of its own

    def finish(self, work: Work, outcome: Callable[[int], str]) -> None:
        """Report `ok`, `failed`, `retry`, `unstored` or `slow` of every image, twice: the second changes nothing."""
        outcomes = {number: outcome(number) for number in work.attempts}
        results = [self._result(work, number, outcome) for number, outcome in outcomes.items()]
        report(self.database, work.batch, [result for result in results if result])
        assert report(self.database, work.batch, [result for result in results if result]) == 0
        if not isinstance(work.batch, CompressBatch):
            self._move_on(work, outcomes)

    def reconcile(self, request_id: UUID, group: int, *, dispatch_no: int | None) -> None:
        self._reconciler.run(request_id, group, dispatch_no=dispatch_no)

    def sweep(self) -> None:
        """What the sweeper does about requests and groups."""
        self._take(sweep.expire_requests)
        self.close_some()
        for request_id in self._take(sweep.take_requests_to_dispatch):
            self._send(DispatchRequest(request_id=request_id))
        for request_id, group in self._take(sweep.take_due_groups):
            self.reconcile(request_id, group, dispatch_no=None)

    def close_some(self) -> None:
        """What the sweeper does once about every stopped request."""
        for request_id in self._take(sweep.stopped_requests):
            self.database.transact(partial(close, request_id=request_id, public_url="", wait=False))

    def _take(self, take: Callable[[Session, int], list[T]]) -> list[T]:
        return self.database.transact(lambda session: take(session, 200))

    def pass_time(self, seconds: float) -> None:
        for request_id in self.requests:
            pass_time(self.database, request_id, seconds)
        letters = [*self.mail, *(work.letter for work in self.hands)]
        for letter in {id(letter): letter for letter in letters}.values():
            if isinstance(letter, SecondHalf):
                earlier = {"until": letter.fetched.until - seconds}
                letter.fetched = letter.fetched.model_copy(update=earlier)

    def deliver_all(self, outcome: Callable[[int], str]) -> None:
        """Everything that is on its way arrives, and every worker reports at once."""
        while self.mail:
            self.receive(self.mail.pop(0))
            for work in self.hands:
                self.finish(work, outcome)
            self.hands.clear()

    @property
    def _reconciler(self) -> Reconciler:
        return Reconciler(database=self.database, send=self._send, public_url="https://shop.example")

    def _send(self, message: Message) -> bool:
        self.mail.append(message)
        return True

    def _send_group(self, pipelines: list[Pipeline], *, done: GroupDone) -> bool:
        self.mail += pipelines[: self.takes]
        if self.takes is not None:
            return False
        self.mail.append(done)  # the callback, which may come before its time
        return True

    def _begun_before(self, claim: UUID) -> bool | None:
        if self.begun is None:
            return None
        before = claim in self.begun
        self.begun.add(claim)
        return before

    def _begin(self, letter: Letter, batch: Batch, attempts: dict[int, int]) -> None:
        if attempts:
            self.hands.append(Work(letter, batch, attempts))

    def _result(self, work: Work, number: int, outcome: str) -> Result | None:
        compressing = isinstance(work.batch, CompressBatch | QuickBatch)
        if outcome == "failed":
            return failed(number, NOT_FOUND)
        if outcome == "unstored":
            return due_again(number, delay=15, refund=True)
        if outcome == "retry" and compressing:
            return due_again(number, delay=0)
        if outcome == "retry":
            delay = retry_delay(REFUSED, attempts=work.attempts[number], random=lambda: 0.5)
            return failed(number, REFUSED) if delay is None else due_again(number, delay=delay, error=REFUSED)
        slow = outcome == "slow" and not isinstance(work.batch, CompressBatch)
        return done(number) if compressing and not slow else None

    def _move_on(self, work: Work, outcomes: dict[int, str]) -> None:
        """After fetching: what came goes to be compressed, what was slow to the slow queue."""
        assert isinstance(work.letter, tuple)
        fetch, compress = work.letter
        came = [
            FetchedImage(number=number, bytes=1, sha256="") for number, outcome in outcomes.items() if outcome == "ok"
        ]
        if compress:
            self.mail.append(SecondHalf(compress, Fetched(images=tuple(came), until=time.time() + CLAIM_SECONDS)))
        slow = [number for number, outcome in outcomes.items() if outcome == "slow"]
        ours = self.database.transact(lambda session: defer(session, fetch, slow, seconds=300))
        if ours:
            images = tuple(image for image in fetch.images if image.number in ours)
            again = FetchSlowBatch.after(fetch, images=images)
            self.mail.append((again, compress_after(again)))
