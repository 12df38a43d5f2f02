"""The worker's actors: each translates a message and calls one function.

Priorities: dispatch, then what is quick, then compress, then fetch, so that fetched images are finished before more are
fetched. How many threads each queue may hold is in settings.py.
"""

from dataclasses import dataclass, field
from threading import Lock

from services.worker.compress import Compressor, compress_batch
from services.worker.dispatch import dispatch_group, dispatch_request
from services.worker.fetch import Fetcher, fetch_batch
from services.worker.fleet import Fleet
from shared.broker import receives
from shared.messages import (
    CompressBatch,
    CompressIsolatedBatch,
    DispatchGroup,
    DispatchRequest,
    FetchBatch,
    Fetched,
    FetchIsolatedBatch,
    FetchSlowBatch,
    QuickBatch,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Actors:
    """`isolated` is held while an isolated image is worked on: if it kills the process, no other such image is lost."""

    fetcher: Fetcher
    compressor: Compressor
    fleet: Fleet
    isolated: Lock = field(default_factory=Lock)

    @receives(DispatchRequest, priority=0)
    def dispatch_request(self, message: DispatchRequest) -> None:
        dispatch_request(self.fetcher.database, self.fetcher.send_group, message.request_id, window=self.fleet.window())

    @receives(DispatchGroup, priority=0)
    def dispatch_group(self, message: DispatchGroup) -> None:
        dispatch_group(
            self.fetcher.database,
            self.fetcher.send_group,
            message.request_id,
            group=message.group,
            seen=message.dispatch_no,
            window=self.fleet.window(),
        )

    @receives(QuickBatch, priority=5)
    def quick_batch(self, message: QuickBatch) -> None:
        compress_batch(self.compressor, message, fetch_batch(self.fetcher, message))

    @receives(CompressBatch, priority=10, piped=Fetched)
    def compress_batch(self, message: CompressBatch, fetched: Fetched) -> None:
        compress_batch(self.compressor, message, fetched)

    @receives(CompressIsolatedBatch, priority=10, piped=Fetched)
    def compress_isolated_batch(self, message: CompressIsolatedBatch, fetched: Fetched) -> None:
        with self.isolated:
            compress_batch(self.compressor, message, fetched)

    @receives(FetchBatch, priority=20)
    def fetch_batch(self, message: FetchBatch) -> Fetched:
        return fetch_batch(self.fetcher, message)

    @receives(FetchIsolatedBatch, priority=20)
    def fetch_isolated_batch(self, message: FetchIsolatedBatch) -> Fetched:
        with self.isolated:
            return fetch_batch(self.fetcher, message)

    @receives(FetchSlowBatch, priority=20)
    def fetch_slow_batch(self, message: FetchSlowBatch) -> Fetched:
        return fetch_batch(self.fetcher, message)
