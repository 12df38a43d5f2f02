"""The status service: reads, never writes. Run as `uvicorn services.status.app:create --factory`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from services.status import docs, events, files, queries, routes
from services.status.settings import StatusSettings
from shared import blobs, log
from shared.db import Database
from shared.errors import StorageError
from shared.http.app import application
from shared.http.backpressure import Backpressure
from shared.http.context import Context
from shared.http.problems import Problem
from shared.settings import from_environment

logger = log.get_logger(__name__)


def create(settings: StatusSettings | None = None) -> Starlette:
    """The application; settings come from the environment unless given."""
    settings = settings or from_environment(StatusSettings)
    log.configure(level=settings.log_level, style=settings.log_format)
    database = Database(settings.database_url, pool_size=settings.database_pool)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        database.close()

    parts = [*docs.routes(public_url=settings.public_url), *routes.ROUTES, *events.ROUTES, *files.ROUTES]
    app = application(parts, database=database, at_once=settings.http_at_once, lifespan=lifespan)
    app.add_middleware(Backpressure)
    app.add_exception_handler(StorageError, _storage_away)
    app.state.context = Context(settings=settings, database=database, blobs=blobs.connect(settings.blob_url))
    app.state.poller = events.RequestPoller(
        lambda ids: database.transact(lambda session: queries.find_requests(session, ids))
    )
    return app


def _storage_away(_: HttpRequest, error: Exception) -> Response:
    logger.warning("storage_away", error=str(error))
    detail = "The file store cannot be reached at the moment; try again soon."
    return Problem(503, "storage_unavailable", detail, headers={"Retry-After": "5"}).response()
