"""The ingest service: takes uploads and changes requests. Run as `uvicorn services.ingest.app:create --factory`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from services.ingest.routes import ROUTES
from services.ingest.settings import IngestSettings
from services.ingest.stores import Stores
from shared import blobs, broker, log
from shared.db import Database
from shared.web import application


def create(settings: IngestSettings | None = None) -> Starlette:
    """The application; settings come from the environment unless given."""
    settings = settings or IngestSettings()
    log.configure(level=settings.log_level, style=settings.log_format)
    database = Database(settings.database_url, pool_size=settings.database_pool)
    stores = Stores(
        database=database,
        broker=broker.connect(settings.redis_url, retries=0),
        blobs=blobs.connect(settings.blob_url),
        settings=settings,
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        stores.broker.close()
        database.close()

    app = application(ROUTES, database=database, lifespan=lifespan)
    app.state.stores = stores
    return app
