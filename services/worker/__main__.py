"""The worker process: runs `dramatiq.Worker` itself, so that start, readiness and shutdown are ours (ADR 0004)."""

import ctypes
from contextlib import suppress
from functools import partial
from threading import Event, Thread

from services.worker.actors import Actors
from services.worker.codec import Limits, compress
from services.worker.codec_pool import CodecPool, PoolLimits
from services.worker.compress import Compressor, keep_claims
from services.worker.fetch import Fetcher
from services.worker.fleet import Fleet
from services.worker.politeness import Politeness
from services.worker.settings import WorkerSettings
from shared import broker, log, tracing
from shared.blobs import identity
from shared.blobs.configured import open_store
from shared.broker.consumer import run
from shared.broker.metrics import Metrics
from shared.db import Database
from shared.egress import Egress
from shared.messages import Batch, CompressBatch, CompressIsolatedBatch, Fetched, QuickBatch
from shared.settings import from_environment

PATIENCE_SECONDS = 60
REDIS_RETRIES = 60
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_BODY_BYTES = 2**21  # most sources are smaller
_KEPT_BYTES = 2**23  # at the end of each arena: some batches of sources
LEASE_MARGIN_SECONDS = 15


def main() -> None:
    keep_freed_memory()
    settings = from_environment(WorkerSettings)
    log.configure(level=settings.log_level, style=settings.log_format, trace_ids=tracing.configure("worker"))
    connected = broker.connect(settings.redis_url, middleware=[Metrics()], retries=REDIS_RETRIES)
    connected.prefetch |= settings.prefetch
    connected.shares |= settings.shares
    fleet = Fleet(connected.probe, settings.threads)
    store = open_store(settings)
    database = Database(settings.database_url, pool_size=settings.threads, patience=PATIENCE_SECONDS)
    identity.introduce(database, store)
    egress = Egress(settings.fetch_allow, contact=settings.fetch_contact, connect_seconds=settings.connect_seconds)
    pool = _codec_pool(settings)
    fetcher = Fetcher(
        database=database,
        egress=egress,
        blobs=store,
        limits=settings,
        politeness=_politeness(connected, settings),
        send_group=partial(broker.send_group, connected),
    )
    compressor = Compressor(database=database, blobs=store, pool=pool, begun_before=fleet.begun_before)

    def give_up() -> None:
        fetcher.give_up()
        pool.close()

    ended = Event()
    in_hand = partial(_batches_in_hand, connected)
    keeper = partial(keep_claims, database, in_hand, ended, longest=settings.compress_seconds)
    Thread(target=keeper, name="keep claims", daemon=True).start()
    Thread(target=fleet.announce_until, args=(ended,), name="announce", daemon=True).start()
    actors = Actors(fetcher=fetcher, compressor=compressor, fleet=fleet)
    try:
        run(connected, actors, settings, database=database, give_up=give_up)
    finally:
        ended.set()
        pool.close()
        egress.close()
        database.close()
        tracing.close()


def keep_freed_memory() -> None:
    """Use the memory of one source for the next: given back to the system, it costs a page fault for every 4 kB."""
    with suppress(OSError, AttributeError):  # not glibc
        malloc_options = ctypes.CDLL(None).mallopt
        malloc_options(_M_MMAP_THRESHOLD, _BODY_BYTES)
        malloc_options(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def _batches_in_hand(connected: broker.Broker) -> list[tuple[Batch, Fetched]]:
    kinds: tuple[type[Batch], ...] = (QuickBatch, CompressBatch, CompressIsolatedBatch)
    return [held for kind in kinds for held in broker.in_hand(connected, kind, Fetched)]


def _politeness(connected: broker.Broker, settings: WorkerSettings) -> Politeness:
    return Politeness(
        connected.probe,
        visit_seconds=settings.first_fetch_seconds,
        lease_seconds=settings.visit_seconds + LEASE_MARGIN_SECONDS,
        limit=settings.host_fetches,
    )


def _codec_pool(settings: WorkerSettings) -> CodecPool:
    limits = Limits(max_bytes=settings.max_source_bytes, max_pixels=settings.max_pixels, max_frames=settings.max_frames)
    seconds = settings.codec_seconds
    memory_bytes = settings.codec_memory_mb * 2**20
    return CodecPool(
        settings.codec_processes,
        PoolLimits(memory_bytes=memory_bytes, cpu_seconds=seconds, wall_seconds=seconds),
        codec=partial(compress, limits=limits),
    )


if __name__ == "__main__":
    main()
