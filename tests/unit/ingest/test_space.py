"""Room on disk for all uploads together."""

from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from services.ingest.space import KEPT_FREE, STEP, Reservation, SpoolSpace
from shared.http.problems import Problem

BUDGET = 10 * STEP


@pytest.fixture
def rooms() -> Iterator[list[Reservation]]:
    """Of one space."""
    spool = SpoolSpace(BUDGET)
    with ExitStack() as stack:
        yield [stack.enter_context(spool.reservation()) for _ in range(11)]
    assert spool.reserved == 0


def refused(room: Reservation, size: int) -> tuple[int, str]:
    with pytest.raises(Problem) as problem:
        room.use(size)
    assert int(problem.value.headers["Retry-After"]) > 0
    return problem.value.status, problem.value.code


def test_what_is_expected_is_reserved_and_using_it_takes_no_more(rooms: list[Reservation]) -> None:
    first, second, *_ = rooms
    first.expect(BUDGET)
    for _ in range(10):
        first.use(STEP)
    assert refused(first, 1) == (503, "busy")
    assert refused(second, 1) == (503, "busy")


def test_what_is_not_expected_grows_in_steps(rooms: list[Reservation]) -> None:
    *ten, last = rooms
    for room in ten:
        room.use(1)
        room.use(STEP - 1)
    assert refused(last, 1) == (503, "busy")


def test_room_that_is_given_back_is_free_for_others() -> None:
    spool = SpoolSpace(BUDGET)
    for _ in range(3):
        with spool.reservation() as room:
            room.expect(BUDGET)
            room.use(BUDGET)
            assert spool.reserved == BUDGET
    assert spool.reserved == 0


@pytest.mark.parametrize(("total", "kept"), [(10**12, KEPT_FREE), (10**9, 5 * 10**7)], ids=["large disk", "small disk"])
def test_some_of_the_disk_is_kept_free(monkeypatch: pytest.MonkeyPatch, total: int, kept: int) -> None:
    disk = SimpleNamespace(total=total, free=kept + 5 * STEP)
    monkeypatch.setattr("shutil.disk_usage", lambda _: disk)
    with SpoolSpace(BUDGET).reservation() as room:
        room.use(5 * STEP)
        assert refused(room, 1) == (503, "no_room")
