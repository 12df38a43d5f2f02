"""Limits and pauses of image hosts, on real Valkey; two objects stand for two worker processes."""

import time
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NoReturn

import pytest
import redis

from services.worker import politeness as module
from services.worker.politeness import HOST, LONGEST_PAUSE_SECONDS, Politeness, Visit
from tests.stack import until

SHOP, OTHER = "shop.example:443", "cdn.example:443"


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def polite(
    client: redis.Redis, *, limit: int = 5, visit_seconds: float = 0.01, lease_seconds: float = 60
) -> Politeness:
    return Politeness(client, limit=limit, visit_seconds=visit_seconds, lease_seconds=lease_seconds, chance=lambda: 0.0)


def granted(visit: Visit, host: str = SHOP) -> int:
    return visit.admissions[host].granted


def delays(visit: Visit, host: str = SHOP) -> tuple[float, ...]:
    admission = visit.admissions[host]
    return visit.put_off(host, admission.wanted - admission.granted)


def calls(client: redis.Redis) -> dict[str, int]:
    stats: Any = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()}


def test_all_workers_together_fetch_no_more_than_the_limit_from_a_host(client: redis.Redis) -> None:
    one, other = polite(client), polite(client)
    with one.admit({SHOP: 4}) as first:
        with other.admit({SHOP: 4}) as second:
            assert (granted(first), granted(second), len(delays(second))) == (4, 1, 3)
        assert granted(other.admit({SHOP: 1})) == 1
    assert granted(other.admit({SHOP: 5})) == 4


def test_a_host_at_its_limit_delays_only_its_own_images(client: redis.Redis) -> None:
    polite(client).admit({SHOP: 5})
    visit = polite(client).admit({SHOP: 3, OTHER: 3})
    assert (granted(visit), granted(visit, OTHER), delays(visit, OTHER)) == (0, 3, ())


def test_places_are_given_back_after_an_error_too(client: redis.Redis) -> None:
    with pytest.raises(ZeroDivisionError), polite(client).admit({SHOP: 5}):
        _ = 1 / 0
    assert granted(polite(client).admit({SHOP: 5})) == 5


def test_the_places_of_a_dead_worker_become_free(client: redis.Redis) -> None:
    polite(client, lease_seconds=0.2).admit({SHOP: 5})
    until(lambda: granted(polite(client, lease_seconds=0.2).admit({SHOP: 5})) == 5)
    assert client.zcard(HOST + SHOP) <= 2, "the dead one's lease is gone, what was put off may be on record"


def test_all_workers_leave_a_host_alone_that_asks_for_a_pause(client: redis.Redis) -> None:
    one, other = polite(client), polite(client)
    with one.admit({SHOP: 2, OTHER: 1}) as visit:
        visit.pause(SHOP, 30)
        after = other.admit({SHOP: 3, OTHER: 3})
    assert (granted(after), granted(after, OTHER)) == (0, 3)
    assert all(29 < delay < 35 for delay in delays(after))


def test_a_pause_ends(client: redis.Redis) -> None:
    with polite(client).admit({SHOP: 1}) as visit:
        visit.pause(SHOP, 0.2)
    until(lambda: granted(polite(client).admit({SHOP: 1})) == 1)


def test_a_pause_is_bounded_and_a_shorter_one_does_not_end_it(client: redis.Redis) -> None:
    for seconds in (1e9, 1):
        with polite(client).admit({SHOP: 1, OTHER: 1}) as visit:
            visit.pause(SHOP, seconds)
    (delay,) = delays(polite(client).admit({SHOP: 1}))
    assert LONGEST_PAUSE_SECONDS - 10 < delay <= LONGEST_PAUSE_SECONDS + 10
    assert client.pttl(HOST + SHOP) > LONGEST_PAUSE_SECONDS * 1000, "or the pause would be forgotten"


def test_a_host_is_forgotten_soon_after_its_pause(client: redis.Redis) -> None:
    with polite(client).admit({SHOP: 1}) as visit:
        visit.pause(SHOP, 1)
    assert 0 < client.pttl(HOST + SHOP) < 200_000
    polite(client).pause(SHOP, 500)
    polite(client).pause(OTHER, 500)
    for host in (SHOP, OTHER):
        assert 500_000 < client.pttl(HOST + host) < 600_000
    polite(client).admit({SHOP: 1})
    assert client.pttl(HOST + SHOP) > 500_000


def test_a_process_remembers_the_last_of_many_pauses(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PAUSES", 3)
    worker, hosts = polite(client), [f"h{number}.example:443" for number in range(6)]
    for host in (*hosts, hosts[3]):
        worker.pause(host, 500)
    monkeypatch.setattr(worker, "_asked", lambda _: None)  # as if Valkey were away
    visit = worker.admit(dict.fromkeys(hosts, 1))
    assert [granted(visit, host) for host in hosts] == [1, 1, 1, 0, 0, 0]


def test_images_that_are_put_off_get_turns_one_after_another(client: redis.Redis) -> None:
    """A fetch takes 20 s, so five places serve five more images every 20 s."""
    polite(client).admit({SHOP: 5})
    client.zadd(HOST + SHOP, {"lasts": 20_000})
    turns = [delays(polite(client).admit({SHOP: 5})) for _ in range(3)]
    assert [len(set(turn)) for turn in turns] == [1, 1, 1], "a batch comes back together"
    assert all(15 < later[0] - earlier[0] < 25 for earlier, later in pairwise(turns))


def test_turns_are_not_given_for_ever(client: redis.Redis) -> None:
    polite(client).admit({SHOP: 5})
    client.zadd(HOST + SHOP, {"lasts": 20_000})
    turns = [delays(polite(client).admit({SHOP: 5}))[0] for _ in range(10)]
    assert max(turns) < module.LONGEST_QUEUE_SECONDS + 25


def test_no_more_images_than_the_limit_share_a_turn(client: redis.Redis) -> None:
    polite(client, limit=2).admit({SHOP: 2})
    client.zadd(HOST + SHOP, {"lasts": 20_000})
    turns = delays(polite(client, limit=2).admit({SHOP: 6}))
    assert [turns.count(turn) for turn in sorted(set(turns))] == [2, 2, 2]


def test_a_place_serves_several_images_while_the_visit_may_last(client: redis.Redis) -> None:
    polite(client).admit({SHOP: 3})
    client.zadd(HOST + SHOP, {"lasts": 500})
    visit = polite(client, visit_seconds=2).admit({SHOP: 16})
    assert (visit.admissions[SHOP].places, granted(visit), len(delays(visit))) == (2, 8, 8)


def test_a_batch_takes_few_places_where_images_were_put_off_of_late(client: redis.Redis) -> None:
    worker = polite(client, limit=16, visit_seconds=2)
    with worker.admit({SHOP: 40}):
        pass
    client.zadd(HOST + SHOP, {"lasts": 500})
    several = [worker.admit({SHOP: 16}).admissions[SHOP] for _ in range(5)]
    assert [(one.places, one.granted) for one in several] == [(4, 16)] * 4 + [(0, 0)]


def test_how_long_a_fetch_takes_is_learned_at_hosts_at_their_limit(client: redis.Redis) -> None:
    with polite(client).admit({SHOP: 5, OTHER: 5}):
        assert not client.zscore(HOST + SHOP, "lasts")
    assert not client.exists(HOST + SHOP)
    begun = time.monotonic()
    with polite(client).admit({SHOP: 6, OTHER: 5}) as visit:
        for _ in visit.rounds({SHOP: range(6), OTHER: range(5)}):
            time.sleep(0.2)
    most_ms = (time.monotonic() - begun) * 1000 + 1  # in one round
    assert 200 <= (client.zscore(HOST + SHOP, "lasts") or 0) <= most_ms
    assert not client.exists(HOST + OTHER)
    assert client.pttl(HOST + SHOP) > 0, "nor is that kept for ever"


def test_a_key_that_holds_only_how_long_a_fetch_takes_is_not_kept_for_ever(client: redis.Redis) -> None:
    with polite(client, visit_seconds=2).admit({SHOP: 10}) as visit:
        assert (visit.admissions[SHOP].places, granted(visit)) == (5, 10)
        for _ in visit.rounds({SHOP: range(10)}):
            time.sleep(0.01)
    assert client.zrange(HOST + SHOP, 0, -1) == [b"lasts"]
    assert client.pttl(HOST + SHOP) > 0


def test_what_a_batch_costs(client: redis.Redis) -> None:
    worker = polite(client)
    for _ in range(2):  # the second time Valkey knows the scripts
        client.config_resetstat()
        with worker.admit({SHOP: 2, OTHER: 3, "third.example:80": 1}):
            pass
    counted = calls(client)
    del counted["config|resetstat"]
    assert counted == {"evalsha": 1, "time": 1, "zrange": 3, "zadd": 3, "pexpire": 3, "zrem": 3}


def test_nothing_stays_in_valkey_of_a_host_that_was_left(client: redis.Redis) -> None:
    with polite(client).admit({SHOP: 2}):
        assert client.pttl(HOST + SHOP) > 0
    assert not client.exists(HOST + SHOP)


def test_a_process_counts_for_itself_while_valkey_is_away(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def away(*arguments: Any) -> NoReturn:
        asked.append(arguments)
        raise redis.ConnectionError

    worker = polite(client)
    monkeypatch.setattr(client, "evalsha", away)
    with worker.admit({SHOP: 4}) as first:
        with worker.admit({SHOP: 4}) as second:
            assert (granted(first), granted(second), len(delays(second))) == (4, 1, 3)
        first.pause(SHOP, 30)
    paused = worker.admit({SHOP: 1, OTHER: 1})
    assert (granted(paused), granted(paused, OTHER)) == (0, 1)
    assert delays(paused)[0] > 29
    assert len(asked) == 1, "and then not for a while"
    monkeypatch.undo()
    later = time.monotonic() + module.AWAY_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert granted(worker.admit({SHOP: 5})) == 5
    assert client.exists(HOST + SHOP)
