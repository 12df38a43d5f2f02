"""From an upload to its answer: read the options, parse the manifest, then accept or refuse. Runs in a thread."""

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from uuid import UUID

from services.ingest.accept import Accepted, accept
from services.ingest.context import IngestContext
from services.ingest.idempotency import Idempotency, content_hash
from services.ingest.manifest.encoding import UnsupportedFileError
from services.ingest.manifest.read import MalformedJsonError, canonical, parse_body, read_manifest, read_products
from services.ingest.manifest.rows import Found, Limits
from services.ingest.options import Options, read_options
from services.ingest.settings import IngestSettings
from services.ingest.space import Reservation
from services.ingest.spool import Spool
from services.ingest.upload import Kind, Upload
from shared import tracing
from shared.http.problems import Problem
from shared.ids import uuid7
from shared.log import get_logger
from shared.messages import DispatchRequest

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Submission:
    """An upload whose options are read and whose manifest is not parsed yet."""

    options: Options
    found: Generator[Found, None, None]
    idempotency: Idempotency | None


@dataclass(frozen=True, slots=True)
class Validated:
    """The answer to `validate_only`; nothing is stored."""

    body: Mapping[str, Any]


def submit(
    context: IngestContext, account: UUID, upload: Upload, *, key: str | None, older: bool = False
) -> Accepted | Validated:
    """Accept the upload, repeat the answer stored for its idempotency key, or only validate it.

    Raises:
        Problem: 400, 409, 415, 422, 503.

    """
    settings = context.settings
    with context.parsing:
        submission = _submission(settings, upload, key=key, older=older)
        options = submission.options
        parsed = _spooled(submission.found, settings, upload.room, skip=options.skip or options.validate_only)
    with closing(parsed) as spool:
        valid = spool.good or (options.skip and spool.usable)
        if options.validate_only:
            counts = {"valid": valid, "products": spool.product_count, "images": spool.image_count}
            return Validated(counts | spool.findings())
        if not valid:
            raise _refused(spool)
        with tracing.step_of(spool.request_id, "store", {"halftone.images": spool.image_count}):
            accepted = context.database.transact(
                lambda session: accept(
                    session, account, spool, options, idempotency=submission.idempotency, settings=settings
                )
            )
    log.info("accepted", request_id=accepted.body["request_id"], replayed=accepted.replayed)
    if not accepted.replayed:
        context.send(DispatchRequest(request_id=spool.request_id))
    return accepted


def _submission(settings: IngestSettings, upload: Upload, *, key: str | None, older: bool) -> Submission:
    if upload.kind is Kind.CSV:
        options = _options(settings, upload.fields, older=older)
        idempotency = Idempotency(key, content_hash(upload.file, options)) if key else None
        return Submission(options, read_manifest(upload.file, settings), idempotency)
    upload.file.seek(0)
    try:
        body = parse_body(upload.file.read())
        products = body.pop("products")
        options = _options(settings, {**upload.fields, **body}, older=older)
        idempotency = Idempotency(key, content_hash(BytesIO(canonical(products)), options)) if key else None
    except MalformedJsonError as error:
        raise Problem(400, "malformed", str(error)) from None
    return Submission(options, read_products(products, settings), idempotency)


def _options(settings: IngestSettings, given: Mapping[str, Any], *, older: bool) -> Options:
    return read_options(given, allow=settings.fetch_allow, public_url=settings.public_url, older=older)


def _spooled(found: Generator[Found, None, None], limits: Limits, room: Reservation, *, skip: bool) -> Spool:
    """The whole manifest on disk; the caller closes it."""
    spool = Spool(uuid7(), limits, room)
    try:
        with closing(found):
            spool.fill(found, skip=skip)
    except BaseException as error:
        spool.close()
        if isinstance(error, UnsupportedFileError):
            raise Problem(415, "unsupported_media_type", str(error)) from None
        raise
    return spool


def _refused(spool: Spool) -> Problem:
    count = spool.error_count
    first = (spool.fatal or spool.shown[0]).sentence()
    detail = f"The manifest has {count} error{'s' if count > 1 else ''}. {first}"
    return Problem(422, "invalid_manifest", detail, **spool.findings())
