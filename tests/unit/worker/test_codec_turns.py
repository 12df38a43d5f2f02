"""Whose picture goes next, given what each has used, and which give way."""

from uuid import UUID

import pytest

from services.worker.codec_pool.turns import (
    GIVE_UP_SECONDS,
    HALF_LIFE_SECONDS,
    KEPT_SECONDS,
    SLOW_SECONDS,
    Owner,
    Running,
    Turns,
)

ANN, BOB, CARL = (UUID(int=number) for number in range(1, 4))
A1, A2, B1, C1 = (Owner(account, UUID(int=10 + n)) for n, account in enumerate((ANN, ANN, BOB, CARL)))
LONG = GIVE_UP_SECONDS + 1


def made(turns: Turns[str], seconds: float = 0.0, now: float = 0.0) -> str:
    """The next picture, made at once."""
    running = turns.next(now)
    assert running is not None
    turns.charge(running, seconds, now)
    turns.ends(running)
    return running.image


@pytest.fixture
def turns() -> Turns[str]:
    return Turns(places=2, slow_places=1)


def put(turns: Turns[str], owner: Owner, name: str, count: int) -> None:
    turns.put(owner, [f"{name}{number}" for number in range(1, count + 1)])


def running(turns: Turns[str]) -> Running[str]:
    begun = turns.next(0)
    assert begun is not None
    return begun


def test_those_who_used_the_same_take_turns(turns: Turns[str]) -> None:
    put(turns, A1, "a", 3)
    put(turns, B1, "b", 2)
    assert [made(turns) for _ in range(2)] == ["a1", "b1"]
    put(turns, C1, "c", 1)
    assert [made(turns) for _ in range(4)] == ["a2", "b2", "c1", "a3"]


def test_the_account_that_used_least_goes_first(turns: Turns[str]) -> None:
    put(turns, A1, "a", 3)
    assert made(turns, 20.0) == "a1"
    put(turns, B1, "b", 4)
    assert [made(turns, 4.9) for _ in range(4)] == ["b1", "b2", "b3", "b4"]
    put(turns, B1, "b", 2)
    assert [made(turns, 4.9) for _ in range(2)] == ["b1", "a2"]


def test_an_account_with_many_requests_is_one_account(turns: Turns[str]) -> None:
    for number in range(50):
        put(turns, Owner(ANN, UUID(int=100 + number)), "a", 1)
    put(turns, B1, "b", 50)
    order = [made(turns, 1.0)[0] for _ in range(100)]
    assert order.count("a") == 50
    assert 20 <= order[:50].count("b") <= 30


def test_within_an_account_the_request_that_used_least_goes_first(turns: Turns[str]) -> None:
    put(turns, A1, "x", 2)
    assert made(turns, 9.0) == "x1"
    put(turns, A2, "y", 3)
    assert [made(turns, 2.0) for _ in range(4)] == ["y1", "y2", "y3", "x2"]


def test_what_was_used_long_ago_counts_little(turns: Turns[str]) -> None:
    put(turns, A1, "a", 2)
    assert made(turns, 16.0, now=0) == "a1"
    put(turns, B1, "b", 2)
    later = 4 * HALF_LIFE_SECONDS
    assert [made(turns, 2.0, now=later) for _ in range(2)] == ["b1", "a2"]


def test_a_picture_that_takes_long_leaves_its_place_only_where_others_wait(turns: Turns[str]) -> None:
    put(turns, A1, "a", 3)
    first, _ = running(turns), running(turns)
    turns.charge(first, LONG, 0)
    assert list(turns.yielding(0)) == []  # only its own request waits
    put(turns, B1, "b", 1)
    assert list(turns.yielding(0)) == [first]
    assert turns.slow_down(first)
    assert list(turns.yielding(0)) == []


def test_a_picture_as_small_as_most_keeps_its_place(turns: Turns[str]) -> None:
    put(turns, A1, "a", 1)
    put(turns, B1, "b", 1)
    turns.charge(running(turns), SLOW_SECONDS - 0.1, 0)
    assert list(turns.yielding(0)) == []


def test_those_who_used_more_do_not_make_others_give_way(turns: Turns[str]) -> None:
    put(turns, B1, "b", 1)
    assert made(turns, 30.0) == "b1"
    put(turns, A1, "a", 1)
    turns.charge(running(turns), LONG, 0)
    put(turns, B1, "b", 1)
    assert list(turns.yielding(0)) == []


def test_there_are_few_slow_places_and_what_is_given_up_waits_for_one(turns: Turns[str]) -> None:
    put(turns, A1, "a", 2)
    first, second = running(turns), running(turns)
    assert turns.slow_down(first)
    assert not turns.slow_down(second)
    turns.again(second)
    assert turns.slow_wanted == 1
    turns.ends(first)
    again = turns.next_slow(0)
    assert again is not None
    assert (again.image, again.slow) == ("a2", True)
    turns.charge(again, LONG, 0)
    put(turns, B1, "b", 1)
    assert list(turns.yielding(0)) == []  # once is enough


def test_a_request_whose_slow_pictures_are_made_has_fewer_places(turns: Turns[str]) -> None:
    put(turns, A1, "a", 4)
    assert turns.slow_down(running(turns))
    assert running(turns).image == "a2"
    assert turns.next(0) is None  # a place stays free, for the next who comes
    put(turns, B1, "b", 1)
    assert running(turns).image == "b1"


def test_places_are_kept_from_a_request_that_is_slow_while_others_come(turns: Turns[str]) -> None:
    put(turns, A1, "a", 4)
    first = running(turns)
    turns.charge(first, LONG, 0)
    assert turns.slow_down(first)
    put(turns, B1, "b", 1)
    assert made(turns, 0.1) == "b1"
    assert turns.next(KEPT_SECONDS - 1) is None
    put(turns, A2, "other", 1)
    assert made(turns) == "other1"  # of the same account, and nothing of it is slow
    later = turns.next(3 * KEPT_SECONDS)
    assert later is not None
    assert later.image == "a2"


def test_no_place_is_kept_from_those_who_are_all_slow(turns: Turns[str]) -> None:
    put(turns, A1, "a", 2)
    put(turns, B1, "b", 2)
    first, second = running(turns), running(turns)
    for slow in (first, second):
        turns.charge(slow, LONG, 0)
    assert turns.slow_down(first)
    turns.again(second)
    assert running(turns).image == "a2"
    assert running(turns).image == "b2"
