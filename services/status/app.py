"""The status service: reads, never writes. Run as `uvicorn services.status.app:create --factory`."""

import sys

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from services.status import account_routes, docs, events, files, page, routes
from services.status.problems import pages
from services.status.reader import RequestReader
from services.status.settings import StatusSettings
from shared import log
from shared.errors import StorageError
from shared.http.app import application
from shared.http.connection import Backpressure
from shared.http.context import Context
from shared.http.limits import FairSemaphore, QueuedLimit
from shared.http.problems import Problem
from shared.settings import from_environment

logger = log.get_logger(__name__)
SWITCH_SECONDS = 0.001
"""How long a thread may keep the interpreter while the event loop wants it: a read needs it some ten times."""


def create(settings: StatusSettings | None = None) -> Starlette:
    """The application; settings come from the environment unless given."""
    settings = settings or from_environment(StatusSettings)
    log.configure(level=settings.log_level, style=settings.log_format)
    sys.setswitchinterval(SWITCH_SECONDS)
    context = Context(settings)
    parts = [*pages.ROUTES, *docs.routes(public_url=settings.public_url, needs_keys=settings.auth == "required")]
    parts += [*page.ROUTES, *routes.ROUTES, *events.ROUTES, *files.ROUTES, *account_routes.ROUTES]
    reader = RequestReader(context.database.connect)
    app = application(context, parts, closing=reader.close)
    app.add_middleware(Backpressure)
    app.add_exception_handler(StorageError, _storage_away)
    app.state.reader = reader
    app.state.exports = FairSemaphore(files.EXPORTS_AT_ONCE)
    app.state.long_reads = QueuedLimit("reports and sorted lists", running=routes.LONG_READS, waiting=routes.MAY_WAIT)
    app.state.poller = events.RequestPoller(reader.read_all)
    return app


def _storage_away(_: HttpRequest, error: Exception) -> Response:
    logger.warning("storage_away", error=str(error))
    detail = "The file store cannot be reached at the moment; try again soon."
    return Problem(503, "storage_unavailable", detail, headers={"Retry-After": "5"}).response()
