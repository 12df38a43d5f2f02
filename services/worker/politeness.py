"""How many images all workers together fetch from one host at once, and hosts that asked for a pause (ADR 16).

`halftone:host:HOST:PORT` is a sorted set in Valkey. A lease (`COUNT ID`, scored with the time it began) stands for the
fetches of a batch and ends by itself; `paused` is the end of a pause, `reserved` the time up to which images that were
put off have their turn, `lasts` how long a fetch took, in ms. While Valkey is away, each process counts for itself.
"""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import redis
from prometheus_client import Counter

from shared.log import get_logger

log = get_logger(__name__)

HOST = "halftone:host:"
HOST_FETCHES = 1024
"""Default of the limit. By Little's law, fetches under way = images/s times seconds each: 900 images/s, the goal for
eight workers, from a host that takes 0.5 s need 450. A batch keeps its places until its slowest image has come, which
may double that. So the limit does not slow a catalogue of one host, and yet it ends a pile-up: at 5 s an image such a
fleet would hold 4,500 connections to a host in trouble."""
LONGEST_PAUSE_SECONDS = 3600.0
LONGEST_QUEUE_SECONDS = 60.0
"""How far ahead turns are given: they rest on a guess of how long a fetch takes."""
AWAY_SECONDS = 5.0
"""After Valkey failed, it is not asked for so long: a batch must not wait for its timeout each time."""
PUT_OFF = Counter("halftone_images_put_off_total", "Images not fetched now, for the sake of their host.", ["reason"])

# Images that are put off come back by way of the database, seconds later: if each place served one image of a visit, it
# would be idle most of the time. So where images were put off of late, a batch takes few places, and each serves many
# images, one after another, while the visit may last. Images that are put off get the next turns after those that
# were put off before; a place becomes free every `lasts / limit`.
ADMIT = """#!lua
local id, limit, lease, longest = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local ahead, ttl = tonumber(ARGV[5]), ARGV[6]
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
    if wanted > granted then redis.call('ZADD', key, start + (wanted - granted) * lasts / limit, 'reserved') end
    redis.call('PEXPIRE', key, ttl)
    answers[i] = {granted, places, start - now, math.floor(lasts * 1000 / limit), paused > now and 1 or 0}
end
return answers
"""

LEAVE = """#!lua
for i, key in ipairs(KEYS) do
    redis.call('ZREM', key, ARGV[3 * i - 1])
    local lasts, pause = tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
    if lasts > 0 then redis.call('ZADD', key, lasts, 'lasts') end
    if pause > 0 then
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        redis.call('ZADD', key, 'GT', now + pause, 'paused')
    end
    redis.call('PEXPIRE', key, ARGV[1])
end
"""


@dataclass(frozen=True, slots=True)
class Admission:
    """Of a host's images `granted` may be fetched now, `places` at once, and the others after `delays`, in seconds."""

    granted: int
    places: int
    delays: tuple[float, ...]
    begun: float = field(default_factory=time.monotonic)

    @property
    def fetch_ms(self) -> int:
        """How long a fetch took, if the visit ends now; 0 where nobody needs to know, for all were fetched at once."""
        rounds = -(-self.granted // self.places) if self.places else 0
        at_limit = self.delays or rounds > 1
        return round((time.monotonic() - self.begun) * 1000 / rounds) if rounds and at_limit else 0


@dataclass(slots=True)
class Visit:
    """A batch's places at its hosts, given back at the end of the `with`."""

    admissions: dict[str, Admission]
    _politeness: "Politeness"
    _id: str
    _pauses: dict[str, float] = field(default_factory=dict)

    def pause(self, host: str, seconds: float) -> None:
        """The host asked for it (429 or 503 with `Retry-After`): no worker begins another visit before it ends."""
        self._pauses[host] = max(min(seconds, LONGEST_PAUSE_SECONDS), self._pauses.get(host, 0.0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._politeness.leave(self._id, self.admissions, self._pauses)


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
        self._chance = chance
        self._limit = limit
        self._visit_ms = round(visit_seconds * 1000)
        self._lease_ms = round(lease_seconds * 1000)
        self._ttl_ms = round((LONGEST_PAUSE_SECONDS + LONGEST_QUEUE_SECONDS + lease_seconds) * 1000)
        self._admit = client.register_script(ADMIT)
        self._leave = client.register_script(LEAVE)
        self._away_until = 0.0
        self._lock = Lock()
        self._own: defaultdict[str, int] = defaultdict(int)  # this process's fetches under way
        self._own_pauses: dict[str, float] = {}  # by host, on the monotonic clock

    def admit(self, wanted: Mapping[str, int]) -> Visit:
        """Ask for places for so many images of each host; one command for the whole batch."""
        visit_id, hosts = uuid4().hex, list(wanted)
        ahead_ms = round(LONGEST_QUEUE_SECONDS * 1000)
        arguments = [visit_id, self._limit, self._lease_ms, self._visit_ms, ahead_ms, self._ttl_ms, *wanted.values()]
        answers = self._ask(self._admit, hosts, arguments)
        if answers is None:
            answers = [self._answer(host, wanted[host]) for host in hosts]
        admissions = {}
        for host, (granted, places, start_ms, between_us, paused) in zip(hosts, answers, strict=True):
            refused = wanted[host] - granted
            delays = self._delays(refused, start_ms / 1000, between_us / 1_000_000)
            admissions[host] = Admission(granted, places, delays)
            PUT_OFF.labels("pause" if paused else "limit").inc(refused)
        with self._lock:
            for host, admission in admissions.items():
                self._own[host] += admission.places
        return Visit(admissions, self, visit_id)

    def leave(self, visit_id: str, admissions: Mapping[str, Admission], pauses: Mapping[str, float]) -> None:
        """Give the places back and begin the pauses, in one command; a lease that stays behind ends by itself."""
        now = time.monotonic()
        with self._lock:
            for host, admission in admissions.items():
                self._own[host] -= admission.places
                if not self._own[host]:
                    del self._own[host]
            self._own_pauses = {host: end for host, end in self._own_pauses.items() if end > now}
            for host, seconds in pauses.items():
                self._own_pauses[host] = max(now + seconds, self._own_pauses.get(host, 0.0))
        hosts = [host for host, admission in admissions.items() if admission.places or host in pauses]
        arguments: list[Any] = [self._ttl_ms]
        for host in hosts:
            admission = admissions[host]
            lease = f"{admission.places} {visit_id}"
            arguments += [lease, admission.fetch_ms, round(pauses.get(host, 0.0) * 1000)]
        if hosts:
            self._ask(self._leave, hosts, arguments)

    def _ask(self, script: Any, hosts: list[str], arguments: list[Any]) -> Any:
        """None where Valkey is away, or was a moment ago."""
        if time.monotonic() < self._away_until:
            return None
        try:
            return script(keys=[HOST + host for host in hosts], args=arguments)
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

    def _delays(self, refused: int, start: float, between: float) -> tuple[float, ...]:
        """All come back together when there is room for them, or as many at a time as the host takes.

        At least a second, for the way through the database takes longer than most fetches; and up to a quarter more by
        chance, so that images that were put off together do not all return together.
        """
        turns = (min(refused, self._limit * (number // self._limit + 1)) for number in range(refused))
        return tuple(max(1.0, start + turn * between) * (1 + self._chance() / 4) for turn in turns)
