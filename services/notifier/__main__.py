"""The notifier process: consumes `notify` and `deliver`; the sweeper and housekeeping have a thread each."""

from threading import Event

from services.notifier import metrics
from services.notifier.actors import Actors
from services.notifier.deliver import WebhookSender
from services.notifier.housekeeping import Housekeeper
from services.notifier.receiver_queue import ReceiverQueue, Shares
from services.notifier.reconcile import Reconciler
from services.notifier.settings import NotifierSettings
from services.notifier.sweep import Sweeper
from shared import broker, log, tracing
from shared.blobs.configured import open_store
from shared.broker.backlog import Backlog
from shared.broker.consumer import run
from shared.broker.epoch import EpochKey
from shared.broker.metrics import Metrics
from shared.db import Database
from shared.egress import Egress
from shared.messages import Deliver
from shared.settings import from_environment

PATIENCE_SECONDS = 60
JOIN_SECONDS = 2.5


def main() -> None:
    settings = from_environment(NotifierSettings)
    log.configure(level=settings.log_level, style=settings.log_format, trace_ids=tracing.configure("notifier"))
    connected = connect(settings)
    # As many again are opened under load: one for each thread, and some for the periodic tasks.
    database = Database(settings.database_url, pool_size=settings.threads // 2 + 2, patience=PATIENCE_SECONDS)
    egress = Egress(settings.fetch_allow, public_url=settings.public_url, contact=settings.fetch_contact)
    reconciler = Reconciler(
        database=database,
        send=lambda message: broker.send(connected, message),
        public_url=settings.public_url,
        backlog=Backlog(connected.probe),
    )
    stop = Event()
    sender = WebhookSender(
        database=database,
        egress=egress,
        queue=ReceiverQueue(Shares(host=settings.host_deliveries, threads=settings.deliveries), stop),
        seconds=settings.delivery_seconds,
    )
    epoch_key = EpochKey(connected.client)
    store = open_store(settings)
    metrics.watch_store(store)
    periodic = (
        Sweeper(reconciler=reconciler, epoch_key=epoch_key, seconds=settings.sweep_seconds, stop=stop).start(),
        Housekeeper(database=database, blobs=store, settings=settings, stop=stop, valkey=connected.client).start(),
    )
    try:
        run(connected, Actors(reconciler=reconciler, sender=sender), settings, database=database, stop=stop)
    finally:
        stop.set()
        for thread in periodic:
            thread.join(timeout=JOIN_SECONDS)
        egress.close()
        database.close()
        tracing.close()


def connect(settings: NotifierSettings) -> broker.Broker:
    """The broker; it hands out only as many deliveries at once as may hold threads."""
    connected = broker.connect(settings.redis_url, middleware=[Metrics()])
    connected.prefetch |= {Deliver.queue: settings.deliveries}
    return connected


if __name__ == "__main__":
    main()
