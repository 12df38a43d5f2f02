"""Everything one service may ask of another, as typed classes; sender and receiver share only these.

A message is a hint: it may be lost, doubled, late or out of order. A breaking change is a new class whose `actor` ends
in `.v2`, with a queue of its own: older processes drop what they have no actor for. The old one lives for one release.
Unknown fields are ignored, so a rolling deploy may add one, with a default (tests/upgrades/test_messages.py).
"""

from typing import ClassVar, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from shared.ids import uuid7
from shared.recipe import Recipe
from shared.schemas.accounts import DEFAULT_ACCOUNT

_CONFIG = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)  # the input holds URLs: not for logs


class Message(BaseModel):
    """`actor` and `queue` name the receiver, which decides its priority itself."""

    model_config = _CONFIG

    actor: ClassVar[str]
    queue: ClassVar[str]


class DispatchRequest(Message):
    """Dispatch waiting groups of a request until its window is full."""

    actor = "worker.dispatch_request"
    queue = "dispatch"

    request_id: UUID


class DispatchGroup(Message):
    """Dispatch a group again: some of its images are due. Void unless `dispatch_no` is still the group's."""

    actor = "worker.dispatch_group"
    queue = "dispatch"

    request_id: UUID
    group: int
    dispatch_no: int


class ImageRef(BaseModel):
    """An image to fetch: its number within the request and its URL."""

    model_config = _CONFIG

    number: int
    url: str


class Batch(Message):
    """At most 16 images of one group. `claim` is this message's right to work on them, while it lasts.

    `takes_over` is the claim of the message before it in the chain: first fetch, slow fetch, compress. The last of them
    works under it, and makes its own claim only in case of doubt. An `isolated` class carries one image, and a process
    works on one such message at a time.
    """

    isolated: ClassVar[bool] = False

    account_id: UUID = DEFAULT_ACCOUNT  # as of a service that does not send it yet
    request_id: UUID
    group: int
    dispatch_no: int
    run: int
    claim: UUID
    takes_over: UUID | None = None
    recipe: Recipe

    @property
    def claims(self) -> list[UUID]:
        """Its own, and the one that it may be working under."""
        return [self.claim] + ([self.takes_over] if self.takes_over else [])

    @classmethod
    def after(cls, batch: "Batch", **changes: object) -> Self:
        """The next message in the chain, which takes over the claim of `batch`."""
        return cls.model_validate(batch.model_dump() | changes | {"claim": uuid7(), "takes_over": batch.claim})


class FetchBatch(Batch):
    """First half of the pipeline: URLs to sources."""

    actor = "worker.fetch_batch"
    queue = "fetch"

    images: tuple[ImageRef, ...]


class FetchSlowBatch(FetchBatch):
    """The same for hosts that did not answer within the first fetch's time; on its own queue it delays no others."""

    actor = "worker.fetch_slow_batch"
    queue = "fetch_slow"


class QuickBatch(FetchBatch):
    """Fetches and compresses the first images of a request, so that a small one is done at once beside large ones."""

    actor = "worker.quick_batch"
    queue = "quick"


class FetchIsolatedBatch(FetchBatch):
    """The same for one image that may have killed its worker: if it does so again, no other image is lost with it."""

    actor = "worker.fetch_isolated_batch"
    queue = "fetch_isolated"
    isolated = True


class FetchedImage(BaseModel):
    """A source in the blob store: the result of fetching one image. `bytes` is its size.

    `fetch_ms`: milliseconds from the start of this image's fetch to its whole body; None of an older worker.
    """

    model_config = _CONFIG

    number: int
    bytes: int
    sha256: str
    fetch_ms: int | None = None


class Fetched(BaseModel):
    """The result of `fetch_batch`, piped into `compress_batch`; empty too, or the group would never complete.

    `until`: when its claim ends, in seconds since 1970 by the clock of the worker that fetched.
    """

    model_config = _CONFIG

    images: tuple[FetchedImage, ...] = ()
    until: float = 0


class CompressBatch(Batch):
    """Second half of the pipeline: sources to renditions."""

    actor = "worker.compress_batch"
    queue = "compress"


class CompressIsolatedBatch(CompressBatch):
    """Follows `FetchIsolatedBatch`, on a queue of its own: behind all the others its claim would end meanwhile."""

    actor = "worker.compress_isolated_batch"
    queue = "compress_isolated"
    isolated = True


class GroupDone(Message):
    """The completion callback of a dispatched group: reconcile it."""

    actor = "notifier.group_done"
    queue = "notify"

    request_id: UUID
    group: int
    dispatch_no: int


class CloseRequest(Message):
    """Close some open groups of a stopped request; the receiver sends it again while more are open."""

    actor = "notifier.close_request"
    queue = "notify"

    request_id: UUID


class Deliver(Message):
    """A delivery is due. On its own queue: receivers may be slow, so a process prefetches fewer than it has threads."""

    actor = "notifier.deliver"
    queue = "deliver"

    delivery_id: UUID


def all_messages() -> tuple[type[Message], ...]:
    """Every message that is sent, for the contract test."""
    fetching = (QuickBatch, FetchBatch, FetchSlowBatch, FetchIsolatedBatch)
    return (
        DispatchRequest,
        DispatchGroup,
        *fetching,
        CompressBatch,
        CompressIsolatedBatch,
        GroupDone,
        CloseRequest,
        Deliver,
    )
