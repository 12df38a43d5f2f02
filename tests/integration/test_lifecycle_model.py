"""Everything that can happen to a request, in any order that Hypothesis can think of.

Groups, batches and window are small here, so that a few images are several of each.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import ClassVar, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlmodel import Session

from services.ingest.changes import cancel, erase_request, retry
from services.notifier import close, sweep, wiped_broker
from services.worker import dispatch
from services.worker.claim import renew
from shared import lifecycle
from shared.db import Database
from shared.http.problems import Problem
from shared.ids import uuid7
from shared.messages import CloseRequest, CompressBatch, DispatchRequest
from shared.schemas.accounts import DEFAULT_ACCOUNT
from tests.integration import world
from tests.integration.invariants import Invariants
from tests.integration.seed import add_request, empty, sql
from tests.integration.world import SecondHalf, World

T = TypeVar("T")
ROUNDS = 12
"""Of delivering, waiting and sweeping, within which every request is finished once nothing goes wrong any more."""
which = st.integers(0, 1000)
kinds = st.sampled_from(["ok", "ok", "ok", "ok", "failed", "retry", "unstored", "slow"])
endings = st.lists(st.sampled_from(["ok", "failed", "retry"]), min_size=4, max_size=4)
outcomes = st.lists(kinds, min_size=4, max_size=4)  # of the images 1 to 4 of each group


class Lifecycle(RuleBasedStateMachine):
    database: ClassVar[Database]
    world: World
    books: Invariants
    end: list[str]

    @initialize(
        sizes=st.lists(st.integers(1, 11), min_size=1, max_size=2),
        begun=st.sampled_from([True, True, False]),
        end=endings,
    )
    def accept(self, *, sizes: list[int], begun: bool, end: list[str]) -> None:
        self.end = end
        empty(self.database)
        requests = [add_request(self.database, images=size) for size in sizes]
        self.world = World(self.database, requests)
        self.world.mail = [DispatchRequest(request_id=request_id) for request_id in requests]
        while begun and isinstance(self.world.mail[0], DispatchRequest):
            self.world.receive(self.world.mail.pop(0))
        self.books = Invariants(self.database)

    @rule(index=which, twice=st.booleans(), takes=st.sampled_from([None, None, None, 0, 1]))
    def receive(self, *, index: int, twice: bool, takes: int | None) -> None:
        self.world.takes = takes
        for letter in _one(self.world.mail, index):
            if not twice:
                self.world.mail.remove(letter)
            self.world.receive(letter)
        self.world.takes = None

    @rule(count=st.integers(1, 30), results=outcomes)
    def work_along(self, count: int, results: list[str]) -> None:
        for _ in range(count):
            for letter in _one(self.world.mail, 0):
                self.world.mail.remove(letter)
                self.world.receive(letter)
            while self.world.hands:
                self.finish(0, results)

    @rule(times=st.sampled_from([1, 1, 1, 6]), redelivered=st.booleans())
    def kill_every_worker(self, *, times: int, redelivered: bool) -> None:
        for _ in range(times):
            for letter in list(self.world.mail):
                self.world.mail.remove(letter)
                self.world.receive(letter)
            while self.world.hands:
                self.crash(index=0, redelivered=redelivered)
            self.world.pass_time(310)
            self.world.sweep()

    @rule(index=which)
    def lose(self, index: int) -> None:
        for letter in _one(self.world.mail, index):
            self.world.mail.remove(letter)

    @rule(index=which, results=outcomes)
    def finish(self, index: int, results: list[str]) -> None:
        for work in _one(self.world.hands, index):
            self.world.hands.remove(work)
            self.world.finish(work, lambda number: results[number % len(results)])

    @rule(index=which, redelivered=st.booleans())
    def crash(self, *, index: int, redelivered: bool) -> None:
        for work in _one(self.world.hands, index):
            self.world.hands.remove(work)
            if redelivered:
                self.world.receive(work.letter)

    @rule(seconds=st.sampled_from([6, 31, 61, 125, 310, 700]))
    def wait(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    @rule()
    def sweep(self) -> None:
        self.world.sweep()

    @rule()
    def close_some(self) -> None:
        self.world.close_some()

    @rule(index=which)
    def sweep_without_time(self, index: int) -> None:
        """What the sweeper took is given back, after a message has come in between."""
        requests = self._do(partial(sweep.take_requests_to_dispatch, limit=9))
        groups = self._do(partial(sweep.take_due_groups, limit=9))
        self.receive(index=index, twice=False, takes=None)
        self._do(lambda session: sweep.give_back_requests(session, requests))
        self._do(lambda session: sweep.give_back_groups(session, groups))

    @rule(index=which)
    def renew(self, index: int) -> None:
        waiting = [(letter.message, letter.numbers) for letter in self.world.mail if isinstance(letter, SecondHalf)]
        begun = [(work.batch, [*work.attempts]) for work in self.world.hands if isinstance(work.batch, CompressBatch)]
        for batch, numbers in _one([*waiting, *begun], index):
            self._do(partial(renew, batch=batch, numbers=numbers))

    @rule(away=st.booleans())
    def valkey_knows_nothing(self, *, away: bool) -> None:
        """Of batches that began: it forgot them, or cannot be asked for a while."""
        self.world.begun = None if away else set()

    @rule(lost=st.booleans(), begins=st.booleans(), batches=st.integers(0, 4))
    def wipe_broker(self, *, lost: bool, begins: bool, batches: int) -> None:
        """And repair it, or a part of it."""
        if lost:
            self.world.mail.clear()
            self.world.begun = set()
        if begins:
            self._do(partial(wiped_broker.begin_epoch, seen=self._do(wiped_broker.epoch), new=uuid7()))
        for _ in range(batches):
            self._do(wiped_broker.repair_batch)

    @rule(index=which, group=st.integers(1, 3), dispatch_no=st.sampled_from([None, 0, 1, 2, 3]))
    def reconcile(self, index: int, group: int, dispatch_no: int | None) -> None:
        self.world.reconcile(self._request(index), group, dispatch_no=dispatch_no)

    @rule(index=which, how=st.sampled_from(["cancelled", "cancelled, and heard", "expired", *["not at all"] * 5]))
    def stop(self, index: int, how: str) -> None:
        request_id = self._request(index)
        if how == "expired":
            sql(
                self.database,
                "UPDATE processing_request SET deadline_at = now() WHERE id = %(id)s AND finished_at IS NULL",
                id=request_id,
            )
        elif how != "not at all":
            with suppress(Problem):
                self.database.transact(lambda session: cancel(session, DEFAULT_ACCOUNT, request_id))
                self.world.mail += [CloseRequest(request_id=request_id)] if "heard" in how else []

    @rule(index=which, heard=st.booleans())
    def retry(self, *, index: int, heard: bool) -> None:
        with suppress(Problem):
            request = self.database.transact(
                lambda session: retry(session, DEFAULT_ACCOUNT, self._request(index), deadline=timedelta(hours=24))
            )
            if heard:
                self.world.mail.append(DispatchRequest(request_id=request.id))

    @rule(index=which, really=st.sampled_from([True, False, False]))
    def erase(self, *, index: int, really: bool) -> None:
        """Messages and claims may then name a request that does not exist."""
        with suppress(Problem):
            if really:
                self.database.transact(lambda session: erase_request(session, DEFAULT_ACCOUNT, self._request(index)))

    @invariant()
    def everything_adds_up(self) -> None:
        self.books.check()

    def teardown(self) -> None:
        """From here on no message and no worker is lost: everything ends, and a retry completes whatever had failed."""
        if not hasattr(self, "world"):
            return
        self.world.hands.clear()
        self._drain(lambda number: self.end[number % 4])
        for index in range(len(self.world.requests)):
            self.retry(index=index, heard=False)
        self._drain(lambda _: "ok")
        rows = sql(self.database, "SELECT state, count(*) FROM image GROUP BY state")
        assert {row["state"] for row in rows} <= {"completed"}  # none where all were erased

    def _drain(self, outcome: Callable[[int], str]) -> None:
        """Deliver, wait and sweep until every request is finished; no deadline may help."""
        sql(self.database, "UPDATE processing_request SET deadline_at = now() + interval '24 h'")
        for _ in range(ROUNDS):
            self.world.deliver_all(outcome)
            self.books.check()
            if not self._unfinished():
                return
            self.world.pass_time(700)
            self.world.sweep()
        raise AssertionError(f"not finished: {self._unfinished()}")

    def _do(self, work: Callable[[Session], T]) -> T:
        return self.database.transact(work)

    def _request(self, index: int) -> UUID:
        return self.world.requests[index % len(self.world.requests)]

    def _unfinished(self) -> list[object]:
        return [row["id"] for row in sql(self.database, "SELECT id FROM processing_request WHERE finished_at IS NULL")]


def _one(things: Sequence[T], index: int) -> Sequence[T]:
    """One of `things`, if there are any. Not a precondition, because the draws of Hypothesis must not depend on it."""
    return [things[index % len(things)]] if things else []


def test_whatever_happens_everything_adds_up_and_ends(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "IMAGES_PER_GROUP", 4)
    monkeypatch.setattr(dispatch, "IMAGES_PER_BATCH", 2)
    monkeypatch.setattr(dispatch, "GROUPS_AT_ONCE", 2)
    monkeypatch.setattr(dispatch, "PAGES", 1)
    monkeypatch.setattr(dispatch, "QUICK_IMAGES", 4)
    monkeypatch.setattr(world, "WINDOW", 8)
    monkeypatch.setattr(close, "GROUPS_AT_ONCE", 1)
    Lifecycle.database = database
    run_state_machine_as_test(
        Lifecycle,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
