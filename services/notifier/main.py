"""The notifier process: consumes `notify`, and sweeps in a thread of its own."""

from threading import Event

from services.notifier.actors import Actors
from services.notifier.deliver import Courier
from services.notifier.lanes import HostLanes
from services.notifier.settings import NotifierSettings
from services.notifier.sweep import Sweeper
from services.notifier.watch import Watcher
from shared import blobs, broker, log
from shared.broker.consumer import run
from shared.broker.metrics import Metrics
from shared.db import Database
from shared.egress import Egress
from shared.epoch import EpochKey

PATIENCE_SECONDS = 60


def main() -> None:
    settings = NotifierSettings()
    log.configure(level=settings.log_level, style=settings.log_format)
    connected = broker.connect(settings.redis_url, middleware=[Metrics()])
    database = Database(settings.database_url, pool_size=settings.threads + 1, patience=PATIENCE_SECONDS)
    egress = Egress(settings.fetch_allow)
    watcher = Watcher(
        database=database, send=lambda message: broker.send(connected, message), public_url=settings.public_url
    )
    courier = Courier(
        database=database,
        egress=egress,
        lanes=HostLanes(settings.host_deliveries),
        seconds=settings.delivery_seconds,
    )
    sweeper = Sweeper(
        watcher=watcher,
        blobs=blobs.connect(settings.blob_url),
        epoch_key=EpochKey(connected.client),
        settings=settings,
    )
    stop = Event()
    sweeping = sweeper.start(stop)
    try:
        run(connected, Actors(watcher=watcher, courier=courier), settings, database=database)
    finally:
        stop.set()
        sweeping.join(timeout=5)
        egress.close()
        database.close()


if __name__ == "__main__":
    main()
