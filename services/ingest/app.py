"""The ingest service: takes uploads and changes requests. Run as `uvicorn services.ingest.app:create --factory`."""

import errno

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from services.ingest import account_routes, routes
from services.ingest.body import DROPPED_BEYOND
from services.ingest.context import IngestContext
from services.ingest.settings import IngestSettings
from services.ingest.space import no_room
from shared import log, tracing
from shared.http.app import application
from shared.settings import from_environment

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE}
logger = log.get_logger(__name__)


def create(settings: IngestSettings | None = None) -> Starlette:
    """The application; settings come from the environment unless given."""
    settings = settings or from_environment(IngestSettings)
    log.configure(level=settings.log_level, style=settings.log_format, trace_ids=tracing.configure("ingest"))
    app = application(
        IngestContext(settings),
        [*routes.ROUTES, *account_routes.ROUTES],
        largest_body=settings.max_upload_bytes + DROPPED_BEYOND,
    )
    app.add_exception_handler(OSError, _no_room)
    return app


def _no_room(_: HttpRequest, error: Exception) -> Response:
    """The disk is full, or too many files are open, to spool an upload."""
    if not isinstance(error, OSError) or error.errno not in FULL:
        raise error
    logger.error("no_room", error=str(error))
    return no_room().response()
