"""Everything that can happen to a request, in any order that Hypothesis can think of.

Groups, batches and window are small here, so that a few images are several of each.
"""

from contextlib import suppress
from datetime import timedelta
from typing import ClassVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from services.ingest.cancel import cancel
from services.ingest.retry import retry
from services.worker import dispatch
from shared import lifecycle
from shared.db import Database
from shared.messages import DispatchRequest, GroupDone
from shared.problems import Problem
from shared.schemas import DEFAULT_ACCOUNT
from tests.integration.invariants import Invariants
from tests.integration.seed import add_request, sql
from tests.integration.world import World

ROUNDS = 12
"""Of waiting, sweeping and delivering, within which every request is finished once nothing goes wrong any more."""
which = st.integers(0, 1000)
outcomes = st.lists(st.sampled_from(["ok", "ok", "ok", "retry", "failed", "unstored", "slow"]), min_size=1, max_size=2)


class Lifecycle(RuleBasedStateMachine):
    database: ClassVar[Database]
    world: World
    books: Invariants

    @initialize(sizes=st.lists(st.integers(1, 11), min_size=1, max_size=2))
    def accept(self, sizes: list[int]) -> None:
        sql(self.database, "TRUNCATE processing_request CASCADE")
        requests = [add_request(self.database, images=size) for size in sizes]
        self.world = World(self.database, requests)
        self.world.mail = [DispatchRequest(request_id=request_id) for request_id in requests]
        self.books = Invariants(self.database)

    @rule(index=which, twice=st.booleans(), takes=st.sampled_from([None, None, None, 0, 1]))
    @precondition(lambda self: self.world.mail)
    def receive(self, *, index: int, twice: bool, takes: int | None) -> None:
        self.world.takes = takes
        letter = self.world.mail[index % len(self.world.mail)]
        if not twice:
            self.world.mail.remove(letter)
        self.world.receive(letter)
        self.world.takes = None

    @rule(count=st.integers(1, 20))
    @precondition(lambda self: self.world.mail)
    def receive_in_order(self, count: int) -> None:
        for letter in self.world.mail[:count]:
            self.world.mail.remove(letter)
            self.world.receive(letter)

    @rule(index=which)
    @precondition(lambda self: self.world.mail)
    def lose(self, index: int) -> None:
        self.world.mail.pop(index % len(self.world.mail))

    @rule(index=which, results=outcomes)
    @precondition(lambda self: self.world.hands)
    def finish(self, index: int, results: list[str]) -> None:
        work = self.world.hands.pop(index % len(self.world.hands))
        self.world.finish(work, lambda number: results[number % len(results)])

    @rule(index=which, redelivered=st.booleans())
    @precondition(lambda self: self.world.hands)
    def crash(self, *, index: int, redelivered: bool) -> None:
        work = self.world.hands.pop(index % len(self.world.hands))
        if redelivered:
            self.world.receive(work.letter)

    @rule(seconds=st.sampled_from([6, 31, 61, 125, 310, 700]))
    def wait(self, seconds: int) -> None:
        self.world.pass_time(seconds)

    @rule()
    def sweep(self) -> None:
        self.world.sweep()

    @rule(index=which, group=st.integers(1, 3), dispatch_no=st.sampled_from([None, 0, 1, 2, 3]))
    def look(self, index: int, group: int, dispatch_no: int | None) -> None:
        self.world.look(self._request(index), group, dispatch_no=dispatch_no)

    @rule(index=which, heard=st.booleans())
    def cancel(self, *, index: int, heard: bool) -> None:
        with suppress(Problem):
            request, groups = self.database.transact(
                lambda session: cancel(session, DEFAULT_ACCOUNT, self._request(index))
            )
            if heard:
                self.world.mail += [GroupDone(request_id=request.id, group=group, dispatch_no=0) for group in groups]

    @rule(index=which)
    def expire(self, index: int) -> None:
        sql(
            self.database,
            "UPDATE processing_request SET deadline_at = now() WHERE id = %(id)s AND finished_at IS NULL",
            id=self._request(index),
        )

    @rule(index=which, heard=st.booleans())
    def retry(self, *, index: int, heard: bool) -> None:
        with suppress(Problem):
            request = self.database.transact(
                lambda session: retry(session, DEFAULT_ACCOUNT, self._request(index), deadline=timedelta(hours=24))
            )
            if heard:
                self.world.mail.append(DispatchRequest(request_id=request.id))

    @invariant()
    def everything_adds_up(self) -> None:
        self.books.check()

    def teardown(self) -> None:
        """From here on nothing goes wrong; what was in a worker's hands is lost. No deadline helps."""
        if not hasattr(self, "world"):
            return
        sql(self.database, "UPDATE processing_request SET deadline_at = now() + interval '24 h'")
        self.world.hands.clear()
        for _ in range(ROUNDS):
            self.world.deliver_all()
            self.books.check()
            if not self._unfinished():
                return
            self.world.pass_time(700)
            self.world.sweep()
        raise AssertionError(f"not finished: {self._unfinished()}")

    def _request(self, index: int) -> UUID:
        return self.world.requests[index % len(self.world.requests)]

    def _unfinished(self) -> list[object]:
        return [row["id"] for row in sql(self.database, "SELECT id FROM processing_request WHERE finished_at IS NULL")]


def test_whatever_happens_everything_adds_up_and_ends(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "IMAGES_PER_GROUP", 4)
    monkeypatch.setattr(dispatch, "IMAGES_PER_BATCH", 2)
    monkeypatch.setattr(dispatch, "WINDOW", 8)
    Lifecycle.database = database
    run_state_machine_as_test(
        Lifecycle,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
