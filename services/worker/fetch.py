"""Step 5: fetch a batch's images concurrently into the blob store; what happens to one never touches another."""

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from uuid import UUID

from shared.blobs import Blobs, source_key
from shared.egress import Egress
from shared.errors import ConnectFailure, FetchTimeout, ImageError, StorageError
from shared.log import get_logger
from shared.messages import FetchedImage, ImageRef

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """`first_seconds` is all a first fetch gets; what is slower is fetched again, apart, with `total_seconds`."""

    first_seconds: float = 5.0
    total_seconds: float = 30.0
    connect_seconds: float = 5.0
    max_bytes: int = 20_000_000


@dataclass(frozen=True, slots=True)
class FetchResults:
    """Every image of the batch is in exactly one of these, in the batch's order."""

    fetched: list[FetchedImage] = field(default_factory=list)
    failed: list[tuple[int, ImageError]] = field(default_factory=list)
    slow: list[int] = field(default_factory=list)  # ran out of the first fetch's time
    unfinished: list[int] = field(default_factory=list)  # the worker is stopping
    unstored: list[tuple[int, StorageError]] = field(default_factory=list)  # no fault of the image


Outcome = FetchedImage | ImageError | StorageError


def fetch_images(
    images: Sequence[ImageRef],
    *,
    request_id: UUID,
    egress: Egress,
    blobs: Blobs,
    pool: ThreadPoolExecutor,
    stopping: Future[None],
    slow: bool,
    limits: FetchLimits,
) -> FetchResults:
    """`slow` says that these images have had their first fetch, and get the full time now; `stopping` ends it early."""
    seconds = limits.total_seconds if slow else limits.first_seconds

    def one(image: ImageRef) -> Outcome:
        return _fetch(image, request_id=request_id, egress=egress, blobs=blobs, seconds=seconds, limits=limits)

    fetches = [pool.submit(one, image) for image in images]
    _wait(fetches, stopping)
    results = FetchResults()
    for image, fetch in zip(images, fetches, strict=True):
        if fetch.done():
            _sort(results, image.number, fetch.result(), slow=slow)
        else:
            results.unfinished.append(image.number)
    return results


def _wait(fetches: list[Future[Outcome]], stopping: Future[None]) -> None:
    pending: set[Future[Any]] = set(fetches)
    while pending and not stopping.done():
        pending = wait({*pending, stopping}, return_when=FIRST_COMPLETED).not_done - {stopping}


def _fetch(
    image: ImageRef, *, request_id: UUID, egress: Egress, blobs: Blobs, seconds: float, limits: FetchLimits
) -> Outcome:
    try:
        answer = egress.fetch(
            image.url,
            deadline_seconds=seconds,
            max_bytes=limits.max_bytes,
            connect_seconds=limits.connect_seconds,
        )
        digest = sha256(answer.body).hexdigest()
        # Lost in a power cut, a source is fetched again.
        blobs.put(source_key(request_id, digest), answer.body, durable=False)
        return FetchedImage(number=image.number, bytes=len(answer.body), sha256=digest)
    except (ImageError, StorageError) as error:
        return error
    except Exception:
        # A mistake of ours. Transient, so that it is tried again, and ends after the fifth attempt.
        log.exception("fetch failed unexpectedly", request_id=str(request_id), image=image.number)
        return ConnectFailure("The image could not be fetched.")


def _sort(results: FetchResults, number: int, outcome: Outcome, *, slow: bool) -> None:
    if isinstance(outcome, FetchedImage):
        results.fetched.append(outcome)
    elif isinstance(outcome, StorageError):
        results.unstored.append((number, outcome))
    elif isinstance(outcome, FetchTimeout) and not slow:
        results.slow.append(number)
    else:
        results.failed.append((number, outcome))
