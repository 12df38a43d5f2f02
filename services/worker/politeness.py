"""How many images all workers together fetch from one host at once, and hosts that asked for a pause (ADR 16).

`halftone:host:HOST:PORT` is a sorted set in Valkey. A lease (`COUNT ID`, scored with the time it began) stands for the
fetches of a batch and ends by itself; `paused` is the end of a pause, `reserved` the time up to which images that were
put off have their turn, `lasts` how long a fetch took, in ms. While Valkey is away, each process counts for itself.
"""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

import redis
from prometheus_client import Counter

from shared.log import get_logger

T = TypeVar("T")
log = get_logger(__name__)

HOST = "halftone:host:"
HOST_FETCHES = 4096
"""Default of the limit. By Little's law, fetches under way = images/s times seconds each: 4,000 images/s from a host
that takes 0.5 s need 2,000, and a batch keeps its places until its slowest image has come, which may double that. A
worker keeps 80 images under way, so fifty workers on one host stay below it: a limit that is reached costs more than
what it puts off (1,024 halved the rate of 16 workers), so the default is only for a pile-up at a host in trouble."""
LONGEST_PAUSE_SECONDS = 3600.0
MOST_PAUSES = 10_000
"""That a process remembers for the time while Valkey is away; the oldest is forgotten first."""
MARGIN_SECONDS = 60.0
"""For so long a host's key outlives what it holds."""
LONGEST_QUEUE_SECONDS = 60.0
"""How far ahead turns are given: they rest on a guess of how long a fetch takes."""
MOST_CHANCE_SECONDS = 15.0
AWAY_SECONDS = 5.0
"""After Valkey failed, it is not asked for so long: a batch must not wait for its timeout each time."""
PUT_OFF = Counter("halftone_images_put_off_total", "Images not fetched now, for the sake of their host.", ["reason"])

# Images that are put off come back by way of the database, seconds later: if each place served one image of a visit, it
# would be idle most of the time. So where images were put off of late, a batch takes few places, and each serves many
# images, one after another, while the visit may last. Images that are put off get the next turns after those that
# were put off before; a place becomes free every `lasts / limit`.
ADMIT = """#!lua
local id, limit, lease, longest = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local ahead, margin = tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answers = {}
for i, key in ipairs(KEYS) do
    local wanted, used, paused, reserved, lasts, over = tonumber(ARGV[6 + i]), 0, 0, 0, 1000, false
    local members = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for m = 1, #members, 2 do
        local name, score = members[m], tonumber(members[m + 1])
        if name == 'paused' then
            paused = score
        elseif name == 'reserved' then
            reserved = score
        elseif name == 'lasts' then
            lasts = math.max(50, score)
        elseif score <= now - lease then
            over = true
        else
            used = used + tonumber(string.match(name, '^%d+'))
        end
    end
    if over then redis.call('ZREMRANGEBYSCORE', key, 1e9, now - lease) end
    local rounds = math.max(1, math.floor(longest / lasts))
    local places = paused > now and 0 or math.max(0, math.min(wanted, limit - used))
    if reserved > now - longest then places = math.min(places, math.ceil(wanted / rounds)) end
    if places > 0 then redis.call('ZADD', key, now, places .. ' ' .. id) end
    local granted = math.min(wanted, places * rounds)
    local start = math.max(now, paused)
    start = math.max(start, math.min(reserved, start + ahead))
    if wanted > granted then
        reserved = start + (wanted - granted) * lasts / limit
        redis.call('ZADD', key, reserved, 'reserved')
    end
    redis.call('PEXPIRE', key, math.ceil(math.max(lease, paused - now, reserved - now) + margin))
    answers[i] = {granted, places, start - now, math.floor(lasts * 1000 / limit), paused > now and 1 or 0}
end
return answers
"""

PAUSE = """#!lua
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], 'GT', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1], 'paused')
local ttl = ARGV[1] + ARGV[2]
if redis.call('PTTL', KEYS[1]) < ttl then redis.call('PEXPIRE', KEYS[1], ttl) end
"""


@dataclass(frozen=True, slots=True)
class Admission:
    """Of `wanted` images of a host `granted` may be fetched now, `places` at once.

    The turn of the others begins after `start`, of one more every `between` (seconds).
    """

    wanted: int
    granted: int
    places: int
    start: float
    between: float
    is_paused: bool


@dataclass(slots=True)
class Visit:
    """A batch's places at its hosts, given back at the end of the `with`."""

    admissions: dict[str, Admission]
    _politeness: "Politeness"
    _id: str
    _begun: float = field(default_factory=time.monotonic)
    _pauses: dict[str, float] = field(default_factory=dict)  # when each ends, on the monotonic clock
    _turns: dict[str, tuple[int, float]] = field(default_factory=dict)  # how many, and when the last one ended

    def rounds(self, images: Mapping[str, Sequence[T]]) -> Iterator[list[T]]:
        """What is to be fetched at once, time after time: of each host as many images as it has places.

        Ends where another round would outlast the visit. A host that asks for a pause meanwhile has no further turn.
        """
        left = {host: list(images[host][: admission.granted]) for host, admission in self.admissions.items()}
        number, elapsed = 0, 0.0
        while not number or elapsed * (number + 1) / number <= self._politeness.visit_seconds:
            turns = {host: left[host][: self.admissions[host].places] for host in left if host not in self._pauses}
            turns = {host: turn for host, turn in turns.items() if turn}
            if not turns:
                return
            yield [image for turn in turns.values() for image in turn]
            number, elapsed = number + 1, time.monotonic() - self._begun
            for host, turn in turns.items():
                left[host] = left[host][len(turn) :]
                self._turns[host] = (number, elapsed)

    def pause(self, host: str, seconds: float) -> None:
        """The host asked for it (`Retry-After`): no worker begins another visit there before it ends."""
        seconds = min(seconds, LONGEST_PAUSE_SECONDS)
        end = time.monotonic() + seconds
        if end > self._pauses.get(host, 0.0) + 1:  # the images of a batch mostly ask for the same
            self._pauses[host] = end
            self._politeness.pause(host, seconds)

    def put_off(self, host: str, images: int) -> tuple[float, ...]:
        """After how many seconds each of the host's images that were not fetched is due again; they are counted."""
        admission, now = self.admissions[host], time.monotonic()
        pause = self._pauses.get(host, 0.0) - now
        PUT_OFF.labels("pause" if admission.is_paused or pause > 0 else "limit").inc(images)
        return self._politeness.delays(images, max(pause, admission.start - (now - self._begun)), admission.between)

    def fetch_ms(self, host: str) -> int:
        """How long a fetch took; 0 where nobody needs to know, for all were fetched at once."""
        turns, seconds = self._turns.get(host, (0, 0.0))
        admission = self.admissions[host]
        return round(seconds * 1000 / turns) if turns and admission.wanted > admission.places else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._politeness.leave(self, self._id)


class Politeness:
    """At most `limit` fetches at once per host, over all workers.

    `visit_seconds`: how long a batch may take where it has fewer places than images; `lease_seconds`: longer than any
    batch may fetch, of which a host at its limit loses the places of a worker that died.
    `client` should fail soon: a batch waits for it. `chance` gives 0..1.
    """

    def __init__(
        self,
        client: "redis.Redis",
        *,
        visit_seconds: float,
        lease_seconds: float,
        limit: int = HOST_FETCHES,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.visit_seconds = visit_seconds
        self._chance = chance
        self._limit = limit
        self._lease_ms = round(lease_seconds * 1000)
        self._margin_ms = round(MARGIN_SECONDS * 1000)
        self._ttl_ms = round((LONGEST_PAUSE_SECONDS + LONGEST_QUEUE_SECONDS + lease_seconds) * 1000)
        self._client = client
        self._admit = client.register_script(ADMIT)
        self._pause = client.register_script(PAUSE)
        self._away_until = 0.0
        self._lock = Lock()
        self._own: defaultdict[str, int] = defaultdict(int)  # this process's fetches under way
        self._own_pauses: dict[str, float] = {}  # by host, on the monotonic clock

    def admit(self, wanted: Mapping[str, int]) -> Visit:
        """Ask for places for so many images of each host; one command for the whole batch."""
        visit_id, hosts = uuid4().hex, list(wanted)
        times = [self._lease_ms, round(self.visit_seconds * 1000), round(LONGEST_QUEUE_SECONDS * 1000), self._margin_ms]
        arguments: list[Any] = [visit_id, self._limit, *times, *wanted.values()]
        answers = self._asked(lambda: self._admit([HOST + host for host in hosts], arguments))
        if answers is None:
            answers = [self._answer(host, wanted[host]) for host in hosts]
        admissions = {
            host: Admission(wanted[host], granted, places, start_ms / 1000, between_us / 1_000_000, bool(paused))
            for host, (granted, places, start_ms, between_us, paused) in zip(hosts, answers, strict=True)
        }
        with self._lock:
            for host, admission in admissions.items():
                self._own[host] += admission.places
        return Visit(admissions, self, visit_id)

    def leave(self, visit: Visit, visit_id: str) -> None:
        """Give the places back, in one round trip; a lease that stays behind ends by itself."""
        with self._lock:
            for host, admission in visit.admissions.items():
                self._own[host] -= admission.places
                if not self._own[host]:
                    del self._own[host]
        with self._client.pipeline(transaction=False) as commands:
            for host, admission in visit.admissions.items():
                if admission.places:
                    commands.zrem(HOST + host, f"{admission.places} {visit_id}")
                if lasts := visit.fetch_ms(host):
                    commands.zadd(HOST + host, {"lasts": lasts})
                    commands.pexpire(HOST + host, self._ttl_ms)
            self._asked(commands.execute)

    def pause(self, host: str, seconds: float) -> None:
        """Tell all workers at once."""
        now = time.monotonic()
        with self._lock:
            self._own_pauses[host] = max(now + seconds, self._own_pauses.pop(host, 0.0))
            if len(self._own_pauses) > MOST_PAUSES:
                del self._own_pauses[next(iter(self._own_pauses))]
        self._asked(lambda: self._pause([HOST + host], [round(seconds * 1000), self._margin_ms]))

    def _asked(self, ask: Callable[[], Any]) -> Any:
        """None where Valkey is away, or was a moment ago."""
        if time.monotonic() < self._away_until:
            return None
        try:
            return ask()
        except (redis.RedisError, OSError) as error:
            self._away_until = time.monotonic() + AWAY_SECONDS
            log.warning("hosts_counted_locally", error=type(error).__name__)
            return None

    def _answer(self, host: str, wanted: int) -> tuple[int, int, int, int, bool]:
        """What the script would answer if this process were the only one."""
        with self._lock:
            pause = max(0.0, self._own_pauses.get(host, 0.0) - time.monotonic())
            room = 0 if pause else max(0, self._limit - self._own[host])
        places = min(wanted, room)
        return places, places, round(pause * 1000), 1_000_000 // self._limit, pause > 0

    def delays(self, images: int, start: float, between: float) -> tuple[float, ...]:
        """All come back together when there is room for them, or as many at a time as the host takes.

        At least a second, for the way through the database takes longer than most fetches; and a little more by
        chance, so that images that were put off together do not all return together.
        """
        turns = (min(images, self._limit * (number // self._limit + 1)) for number in range(images))
        return tuple(self._a_little_later(max(1.0, start + turn * between)) for turn in turns)

    def _a_little_later(self, delay: float) -> float:
        return delay + self._chance() * min(delay / 4, MOST_CHANCE_SECONDS)
