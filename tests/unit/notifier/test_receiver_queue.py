from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Lock
from uuid import UUID, uuid4

import pytest

from services.notifier import receiver_queue
from services.notifier.receiver_queue import Receiver as Place
from services.notifier.receiver_queue import ReceiverQueue, Shares
from shared.urls import Target
from tests.stack import until

ACCOUNT = uuid4()
SLOW, FAST = Place("slow.example:443", "slow.example", ACCOUNT), Place("fast.example:443", "fast.example", ACCOUNT)


def queue_of(per_host: int, stop: Event | None = None, *, threads: int = 100) -> ReceiverQueue:
    return ReceiverQueue(Shares(host=per_host, threads=threads), stop or Event())


class Receiver:
    """Takes deliveries once `answers` is set, and remembers how many ran at once."""

    def __init__(self, *, answers: bool = False) -> None:
        self.answers = Event()
        self.done: list[UUID] = []
        self.running = 0
        self.most = 0
        self._lock = Lock()
        if answers:
            self.answers.set()

    def work(self, delivery_id: UUID) -> None:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        assert self.answers.wait(10)
        with self._lock:
            self.running -= 1
            self.done.append(delivery_id)


@contextmanager
def busy(queue: ReceiverQueue, receiver: Receiver, *, threads: int = 1) -> Iterator[None]:
    """So many threads work for the slow host; at the end it answers and they are waited for."""
    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(queue.run, SLOW, uuid4(), receiver.work) for _ in range(threads)]
        until(lambda: receiver.running == threads)
        yield
        receiver.answers.set()
        for thread in running:
            thread.result(timeout=10)


def is_empty(queue: ReceiverQueue) -> bool:
    return (dict(queue._running), dict(queue._waiting)) == ({}, {})


def test_a_host_never_gets_more_at_once_than_allowed_and_no_delivery_is_lost() -> None:
    queue, receiver = queue_of(2), Receiver(answers=True)
    ids = [uuid4() for _ in range(200)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda delivery_id: queue.run(SLOW, delivery_id, receiver.work), ids))
    assert sorted(receiver.done) == sorted(ids)
    assert 1 <= receiver.most <= 2
    assert is_empty(queue)


def test_a_delivery_above_the_limit_frees_its_thread_at_once_and_is_worked_on_by_another_in_order() -> None:
    queue, receiver = queue_of(1), Receiver()
    ids = [uuid4() for _ in range(4)]
    with busy(queue, receiver):
        for delivery_id in ids:
            queue.run(SLOW, delivery_id, receiver.work)
        assert receiver.done == []
    assert receiver.done[1:] == ids


def test_a_slow_host_does_not_hold_up_another() -> None:
    queue, slow, fast = queue_of(2), Receiver(), Receiver(answers=True)
    with busy(queue, slow, threads=2):
        queue.run(SLOW, uuid4(), slow.work)
        queue.run(FAST, uuid4(), fast.work)
        assert len(fast.done) == 1
    assert len(slow.done) == 3


class CountedId(UUID):
    """Counts how often it is compared."""

    compared = 0
    __hash__ = UUID.__hash__

    def __eq__(self, other: object) -> bool:
        CountedId.compared += 1
        return super().__eq__(other)


def test_a_delivery_waits_once_and_is_found_among_many_without_comparing_them_all() -> None:
    queue, receiver, many = queue_of(1), Receiver(), 1000
    values = [uuid4().int for _ in range(many)]
    with busy(queue, receiver):
        for value in values * 2:
            queue.run(SLOW, CountedId(int=value), receiver.work)
        assert CountedId.compared < 2 * many
    assert [delivery_id.int for delivery_id in receiver.done[1:]] == values


def test_a_delivery_that_finds_the_queue_full_is_left_to_the_sweeper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver_queue, "MAX_WAITING", 2)
    queue, receiver = queue_of(1), Receiver()
    with busy(queue, receiver):
        for _ in range(5):
            queue.run(SLOW, uuid4(), receiver.work)
    assert len(receiver.done) == 3


def test_work_that_fails_makes_room_for_the_next() -> None:
    queue, receiver = queue_of(1), Receiver(answers=True)

    def fail(_: UUID) -> None:
        raise RuntimeError("no")

    for _ in range(3):
        with pytest.raises(RuntimeError):
            queue.run(SLOW, uuid4(), fail)
    queue.run(SLOW, uuid4(), receiver.work)
    assert len(receiver.done) == 1
    assert is_empty(queue)


def test_once_stopping_no_more_is_taken_from_a_queue() -> None:
    stop, receiver = Event(), Receiver()
    queue = queue_of(1, stop)
    with busy(queue, receiver):
        queue.run(SLOW, uuid4(), receiver.work)
        stop.set()
    assert len(receiver.done) == 1
    assert is_empty(queue)


def test_a_thread_leaves_a_host_after_its_time_and_the_others_of_that_host_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue, receiver, leaving = queue_of(2), Receiver(), Receiver()
    with busy(queue, receiver), ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(receiver_queue, "MAX_SECONDS", -1.0)
        thread = pool.submit(queue.run, SLOW, uuid4(), leaving.work)
        until(lambda: leaving.running == 1)
        for _ in range(3):
            queue.run(SLOW, uuid4(), receiver.work)
        leaving.answers.set()
        thread.result(timeout=10)
        assert len(leaving.done) == 1
    assert len(receiver.done) == 4


def hold(queue: ReceiverQueue, places: list[Place], receiver: Receiver, pool: ThreadPoolExecutor) -> list[Future[None]]:
    """A delivery to each, in threads of their own; those that have no room leave their thread."""
    return [pool.submit(queue.run, place, uuid4(), receiver.work) for place in places]


def settled(futures: list[Future[None]], receiver: Receiver) -> int:
    """How many hold their threads, once the others have left theirs."""
    until(lambda: receiver.running + sum(future.done() for future in futures) == len(futures))
    return receiver.running


def answered(queue: ReceiverQueue, place: Place, seconds: float) -> None:
    queue.run(place, uuid4(), lambda _: seconds)


def names(count: int, *, domain: str | None = None, address: str | None = None, each: bool = False) -> list[Place]:
    """Names of one domain or of one each, of one address or unknown ones, of one account or one `each`."""
    return [
        Place(f"n{n}.example:443", domain or f"n{n}.example", uuid4() if each else ACCOUNT, address)
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("places", "most"),
    [
        (names(16, domain="wild.example", each=True), 3),
        (names(16, address="203.0.113.9", each=True), 3),
        (names(16), 12),
        (names(16, each=True), 16),
    ],
    ids=["domain", "address", "account", "apart"],
)
def test_names_of_one_domain_address_or_account_do_not_hold_all_threads(places: list[Place], most: int) -> None:
    queue, receiver = queue_of(2, threads=16), Receiver()
    for place in places:
        answered(queue, place, 0.1)
    with ThreadPoolExecutor(16) as pool:
        futures = hold(queue, places, receiver, pool)
        assert settled(futures, receiver) == most
        receiver.answers.set()
    assert len(receiver.done) == 16
    assert is_empty(queue)


@pytest.mark.parametrize("seconds", [None, 15.0], ids=["unknown", "slow"])
def test_however_many_slow_or_unknown_receivers_there_are_quick_ones_have_their_threads(seconds: float | None) -> None:
    queue, dead, quick = queue_of(2, threads=16), Receiver(), Receiver(answers=True)
    places = names(30, each=True)
    answered(queue, FAST, 0.1)
    if seconds:
        for place in places:
            answered(queue, place, seconds)
    with ThreadPoolExecutor(30) as pool:
        futures = hold(queue, places, dead, pool)
        assert settled(futures, dead) == 6
        queue.run(FAST, uuid4(), quick.work)
        assert len(quick.done) == 1
        dead.answers.set()
    assert is_empty(queue)


@pytest.mark.parametrize("seconds", [None, 15.0], ids=["unknown", "slow"])
def test_one_accounts_slow_or_unknown_receivers_leave_room_for_those_of_others(seconds: float | None) -> None:
    queue, dead, other = queue_of(2, threads=16), Receiver(), Receiver(answers=True)
    places, (innocent,) = names(30), names(1, domain="innocent.example", each=True)
    if seconds:
        for place in (*places, innocent):
            answered(queue, place, seconds)
    with ThreadPoolExecutor(30) as pool:
        futures = hold(queue, places, dead, pool)
        assert settled(futures, dead) == 3
        queue.run(innocent, uuid4(), other.work)
        assert len(other.done) == 1
        dead.answers.set()
    assert is_empty(queue)


def test_a_thread_of_unknown_receivers_goes_on_with_another_account_before_more_of_its_own() -> None:
    queue, other = queue_of(1, threads=11), uuid4()  # 4 for unknown ones, 2 of an account
    held, last = Receiver(), Receiver()
    theirs = [Place(f"o{n}.example:443", f"o{n}.example", other) for n in range(2)]
    more, innocent = uuid4(), uuid4()
    with ThreadPoolExecutor(4) as pool:
        futures = hold(queue, names(1), last, pool) + hold(queue, [*names(2)[1:], *theirs], held, pool)
        until(lambda: held.running + last.running == 4)
        queue.run(names(3)[2], more, held.work)
        queue.run(Place("innocent.example:443", "innocent.example", uuid4()), innocent, held.work)
        last.answers.set()
        futures[0].result(timeout=10)
        assert last.done[1:] == [innocent]
        held.answers.set()
    assert more in held.done


def test_a_timeout_makes_a_quick_receiver_slow_and_its_domain_too_and_quick_answers_make_it_quick_again() -> None:
    queue, other = queue_of(2), Place("other.slow.example:443", "slow.example", ACCOUNT)
    kinds = []
    for seconds in (0.1, 15.0, 0.1, 0.1, 0.1, 0.1):
        answered(queue, SLOW, seconds)
        kinds.append(("slow", None) in queue._shares_of(SLOW))
        assert (("slow", None) in queue._shares_of(other)) == kinds[-1]
    assert kinds == [False, True, True, True, False, False]


def test_a_delivery_that_was_not_sent_says_nothing_about_its_receiver() -> None:
    queue = queue_of(2)
    queue.run(FAST, uuid4(), lambda _: None)
    assert ("unknown", None) in queue._shares_of(FAST)


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("a.b.shop.co.uk", "shop.co.uk"),
        ("hooks.shop.example", "shop.example"),
        ("shop.github.io", "shop.github.io"),
        ("co.uk", "co.uk"),
        ("203.0.113.9", None),
        ("[2001:db8::1]", None),
    ],
)
def test_the_domain_is_the_registrable_one_by_the_public_suffix_list(host: str, domain: str | None) -> None:
    receiver = Place.of(Target.parse(f"https://{host}/hook"), ACCOUNT, address="203.0.113.9")
    assert receiver.domain == domain
    assert receiver.address == ("2001:db8::1" if ":" in host else "203.0.113.9")
