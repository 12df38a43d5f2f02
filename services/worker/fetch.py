"""Fetch a batch (step 5): claim its images, fetch them at the same time, settle the failures, hand on the sources.

The batch's thread hands all URLs to the egress loop at once, then hashes and stores each source as it comes. Only of a
host at its limit it hands over a few at a time, and images of a host that wants none now are put off.
"""

import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from prometheus_client import Histogram

from services.worker.claim import claim, defer, release
from services.worker.dispatch import SendGroup
from services.worker.politeness import Politeness, Visit
from services.worker.settings import FetchLimits
from services.worker.settle import Result, due_again, failed, settle, unstored
from shared import tracing
from shared.blobs import Blobs, source_key
from shared.db import Database
from shared.egress import Egress
from shared.errors import (
    ConnectFailure,
    FetchTimeout,
    HttpStatus,
    HttpStatusTransient,
    ImageError,
    StorageError,
    TransientError,
)
from shared.lifecycle import MAX_ATTEMPTS
from shared.log import get_logger
from shared.messages import (
    CompressBatch,
    CompressIsolatedBatch,
    FetchBatch,
    Fetched,
    FetchedImage,
    FetchSlowBatch,
    GroupDone,
    ImageRef,
)
from shared.urls import Target, host_of

RETRY_DELAYS = (5.0, 15.0, 60.0, 120.0)
"""Seconds after attempt 1, 2, 3, 4."""
LONGEST_RETRY_DELAY = 3600.0
TOO_MANY_REQUESTS = 429
SECONDS = Histogram(
    "halftone_fetch_seconds",
    "Time that the fetch of an image took, well or not, redirects included.",
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 2, 5, 10, 20, 30, 60),
)

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PutOff:
    """The image was not tried; it is due again after `seconds`, and the attempt does not count."""

    seconds: float


Outcome = FetchedImage | ImageError | StorageError | PutOff
Times = dict[int, int]
"""Milliseconds that the fetch of each image took, well or not: to its whole body, redirects included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """What fetching needs from its process."""

    database: Database
    egress: Egress
    blobs: Blobs
    limits: FetchLimits
    politeness: Politeness
    send_group: SendGroup

    def give_up(self) -> None:
        """The worker is stopping: batches under way hand back the images that have not come yet."""
        self.egress.give_up()


def fetch_batch(fetcher: Fetcher, batch: FetchBatch) -> Fetched:
    """Fetch the images that the claim gave; the answer lists the sources in the blob store, and may be empty."""
    numbers = [image.number for image in batch.images]
    until = time.time() + fetcher.limits.claim_seconds
    attempts = fetcher.database.run(
        lambda connection: claim(connection, batch, numbers, seconds=fetcher.limits.claim_seconds)
    )
    if not attempts:
        return Fetched()
    times: Times = {}
    outcomes = _fetch_all(fetcher, batch, attempts, times)
    first = not isinstance(batch, FetchSlowBatch)
    slow = [number for number, outcome in outcomes.items() if first and isinstance(outcome, FetchTimeout)]
    ended = {number: outcome for number, outcome in outcomes.items() if number not in slow}
    results = _results(batch, ended, attempts, times)
    if results:
        with tracing.step("settle", {"halftone.images": len(results)}):
            fetcher.database.run(lambda connection: settle(connection, batch, results))
    if slow:
        _send_slow(fetcher, batch, slow)
    images = tuple(outcome for outcome in outcomes.values() if isinstance(outcome, FetchedImage))
    return Fetched(images=images, until=until) if images else Fetched()


def retry_delay(error: ImageError, *, attempts: int, random: Callable[[], float]) -> float | None:
    """Seconds to wait after attempt number `attempts` failed, or None where the failure is final.

    Up to a quarter more than the schedule, by chance, so that images that failed together do not return together;
    never before a `Retry-After` of the host. `random` gives 0..1.
    """
    if not error.transient or attempts >= MAX_ATTEMPTS:
        return None
    delay = RETRY_DELAYS[attempts - 1] * (1 + random() / 4)
    return min(max(delay, error.retry_after or 0.0), LONGEST_RETRY_DELAY)


def _fetch_all(fetcher: Fetcher, batch: FetchBatch, attempts: dict[int, int], times: Times) -> dict[int, Outcome]:
    """Fetch as many as their hosts take now (ADR 16), and put off the others."""
    hosts = defaultdict[str, list[ImageRef]](list)
    for image in batch.images:
        if image.number in attempts:
            hosts[host_of(image.url)].append(image)
    outcomes = dict[int, Outcome]()
    with fetcher.politeness.admit({host: len(its) for host, its in hosts.items()}) as visit:
        for together in visit.rounds(hosts):
            outcomes |= _fetch(fetcher, batch, together, visit, times)
            for error in _overloads(hosts.values(), outcomes, attempts):
                visit.pause(error.host_port, error.retry_after or 0.0)
        for host, its in hosts.items():
            if left := [image.number for image in its if image.number not in outcomes]:
                outcomes |= zip(left, map(PutOff, visit.put_off(host, len(left))), strict=True)
    return {image.number: outcomes[image.number] for image in batch.images if image.number in outcomes}


def _fetch(
    fetcher: Fetcher, batch: FetchBatch, images: Sequence[ImageRef], visit: Visit, times: Times
) -> dict[int, Outcome]:
    """Fetch into the blob store. A source is stored and dropped before the next one is looked at."""
    limits, outcomes = fetcher.limits, dict[int, Outcome]()
    bodies = fetcher.egress.fetch_all(
        [image.url for image in images],
        deadline_seconds=limits.fetch_seconds if isinstance(batch, FetchSlowBatch) else limits.first_fetch_seconds,
        max_bytes=limits.max_source_bytes,
    )
    for index, body, seconds in bodies:
        number = images[index].number
        times[number] = round(seconds * 1000)
        SECONDS.observe(seconds)
        outcomes[number] = outcome = _outcome(fetcher, batch, images[index], body, fetch_ms=times[number])
        _trace(images[index], outcome, seconds)
        if isinstance(outcome, HttpStatusTransient) and outcome.status == TOO_MANY_REQUESTS and outcome.retry_after:
            visit.pause(outcome.host_port, outcome.retry_after)
    return outcomes


def _trace(image: ImageRef, outcome: Outcome, seconds: float) -> None:
    """The URL without its query, which may be a signature."""
    traced = tracing.current()
    if traced is None or not traced.records or isinstance(outcome, PutOff):
        return
    target = Target.parse(image.url)
    about: tracing.Attributes = {
        "http.request.method": "GET",
        "url.full": target.url.partition("?")[0],
        "server.address": target.host,
        "server.port": target.port,
        "halftone.image": image.number,
    }
    if isinstance(outcome, FetchedImage):
        about |= {"http.response.status_code": 200, "http.response.body.size": outcome.bytes}
    else:
        about["error.type"] = outcome.code if isinstance(outcome, ImageError) else "storage"
    if isinstance(outcome, HttpStatus | HttpStatusTransient):
        about["http.response.status_code"] = outcome.status
    traced.ended("GET", seconds, about, calls=True)


def _overloads(
    hosts: Iterable[Sequence[ImageRef]], outcomes: dict[int, Outcome], attempts: dict[int, int]
) -> Iterator[HttpStatusTransient]:
    """Any other `Retry-After` is the host's where all of its answers are errors and one of them is to a first attempt.

    Else it is the image's: Varnish, for one, puts one on each page that says that it cannot make this image.
    """
    for images in hosts:
        tried = {image.number: outcomes[image.number] for image in images if image.number in outcomes}
        if all(isinstance(outcome, TransientError) for outcome in tried.values()):
            for number, error in tried.items():
                if isinstance(error, HttpStatusTransient) and error.retry_after and attempts[number] == 1:
                    yield error


def _outcome(
    fetcher: Fetcher, batch: FetchBatch, image: ImageRef, body: bytearray | BaseException | None, *, fetch_ms: int
) -> Outcome:
    if body is None:  # the worker is stopping
        return PutOff(0)
    try:
        if isinstance(body, BaseException):
            raise body
        digest = sha256(body).hexdigest()
        # Not synced to disk: a source that is lost in a power cut is fetched again.
        fetcher.blobs.put(source_key(batch.request_id, digest), body, durable=False)
        return FetchedImage(number=image.number, bytes=len(body), sha256=digest, fetch_ms=fetch_ms)
    except (ImageError, StorageError) as error:
        return error
    except Exception:
        # A bug. Reported as transient, so that it is tried again and ends after the fifth attempt.
        log.exception("fetch failed unexpectedly", request_id=str(batch.request_id), image=image.number)
        return ConnectFailure("The image could not be fetched.")


def _results(batch: FetchBatch, outcomes: dict[int, Outcome], attempts: dict[int, int], times: Times) -> list[Result]:
    """What is to be settled: every image without a source."""
    results = unstored(
        batch, [(number, error) for number, error in outcomes.items() if isinstance(error, StorageError)]
    )
    for number, outcome in outcomes.items():
        if isinstance(outcome, PutOff):
            results.append(due_again(number, delay=outcome.seconds, refund=True))
        elif isinstance(outcome, ImageError):
            delay, fetch_ms = retry_delay(outcome, attempts=attempts[number], random=random.random), times[number]
            results.append(
                failed(number, outcome, fetch_ms=fetch_ms)
                if delay is None
                else due_again(number, delay=delay, error=outcome, fetch_ms=fetch_ms)
            )
    return results


def _send_slow(fetcher: Fetcher, batch: FetchBatch, slow: list[int]) -> None:
    """Send the images of slow hosts as a group of their own, so that they delay no other image."""
    ours = fetcher.database.run(
        lambda connection: defer(connection, batch, slow, seconds=fetcher.limits.deferred_seconds)
    )
    if not ours:
        return
    images = tuple(image for image in batch.images if image.number in ours)
    done = GroupDone(request_id=batch.request_id, group=batch.group, dispatch_no=batch.dispatch_no)
    fetch = FetchSlowBatch.after(batch, images=images)
    compress = CompressIsolatedBatch.after(fetch) if batch.isolated else CompressBatch.after(fetch)
    if not fetcher.send_group([(fetch, compress)], done=done):
        fetcher.database.run(lambda connection: release(connection, batch, ours))
