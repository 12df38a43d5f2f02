"""The share of a worker's threads that each kind of waiting may hold."""

import pytest

from services.worker.actors import Actors
from services.worker.settings import FetchLimits, WorkerSettings
from shared.messages import (
    CompressBatch,
    DispatchRequest,
    FetchBatch,
    FetchSlowBatch,
    Message,
    QuickBatch,
)


def settings(threads: int) -> WorkerSettings:
    return WorkerSettings(database_url="postgresql://db/halftone", redis_url="redis://redis", threads=threads)


@pytest.mark.parametrize("threads", [4, 8, 16, 64])
def test_slow_hosts_leave_a_thread_for_what_waits_for_no_host(threads: int) -> None:
    shares = settings(threads).shares
    assert shares[FetchBatch.queue] + shares[FetchSlowBatch.queue] < threads


@pytest.mark.parametrize("threads", [2, 4, 8, 16, 64])
def test_a_flood_of_small_requests_leaves_half_of_the_threads(threads: int) -> None:
    assert settings(threads).shares[QuickBatch.queue] <= threads / 2


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_however_few_threads_every_queue_is_consumed(threads: int) -> None:
    assert min((settings(threads).shares | settings(threads).prefetch).values()) == 1


def test_quick_batches_go_before_all_others_and_behind_dispatching() -> None:
    def priority(message: type[Message]) -> int:
        marks = [getattr(value, "receives", None) for value in vars(Actors).values()]
        return next(int(mark[1]) for mark in marks if mark and mark[0] is message)

    order: list[type[Message]] = [DispatchRequest, QuickBatch, CompressBatch, FetchBatch]
    assert sorted(order, key=priority) == order
    assert len({priority(message) for message in order}) == len(order)


@pytest.mark.parametrize(("first", "later"), [(5, 30), (600, 600), (600, 1)])
def test_a_claim_outlasts_a_visit_whose_last_round_begins_at_its_end(first: float, later: float) -> None:
    limits = FetchLimits(first_fetch_seconds=first, fetch_seconds=later)
    assert limits.claim_seconds >= first + max(first, later) + 90
