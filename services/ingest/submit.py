"""An upload from its file to its answer: read the options, read the manifest, accept or refuse.

Runs in a thread; of the three HTTP contracts it knows only whether one of the `older` two is asking.
"""

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.ingest.accept import Accepted, Terms, accept
from services.ingest.encoding import UnsupportedFileError
from services.ingest.idempotency import Idempotency, hash_of_bytes, hash_of_file
from services.ingest.json_manifest import MalformedJsonError, canonical, parse_body, read_products
from services.ingest.manifest import Found, read_manifest
from services.ingest.options import Options, read_options
from services.ingest.spool import Spool
from services.ingest.stores import Stores
from services.ingest.upload import Kind, Upload
from shared.http.problems import Problem
from shared.ids import uuid7
from shared.messages import DispatchRequest


@dataclass(frozen=True, slots=True)
class Submission:
    """An upload, read but not judged."""

    options: Options
    found: Generator[Found, None, None]
    content_hash: str | None


@dataclass(frozen=True, slots=True)
class Validated:
    """What an upload would have been answered with, had it not been for `validate_only`; nothing is stored."""

    body: Mapping[str, Any]


def submit(
    stores: Stores, account: UUID, upload: Upload, *, key: str | None, older: bool = False
) -> Accepted | Validated:
    """Accept the upload, or answer again what was answered to its idempotency key, or only validate it.

    Raises:
        Problem: 400, 409, 415, 422.

    """
    submission = _submission(stores, upload, hashed=key is not None, older=older)
    if submission.options.validate_only:
        return _validated(stores, submission)
    with _spooled(stores, submission, skip=submission.options.skip) as spool:
        if not (spool.good or (submission.options.skip and spool.usable)):
            raise _refused(spool)
        idempotency = None
        if key is not None and submission.content_hash is not None:
            idempotency = Idempotency(key=key, content_hash=submission.content_hash)
        accepted = stores.database.transact(
            lambda session: accept(
                session, account, spool, submission.options, idempotency=idempotency, terms=_terms(stores)
            )
        )
    if not accepted.replayed:
        stores.send(DispatchRequest(request_id=spool.request_id))
    return accepted


def _validated(stores: Stores, submission: Submission) -> Validated:
    with _spooled(stores, submission, skip=True) as spool:
        valid = spool.good or (submission.options.skip and spool.usable)
        counts = {"valid": valid, "products": spool.product_count, "images": spool.image_count}
        return Validated(counts | spool.findings())


def _submission(stores: Stores, upload: Upload, *, hashed: bool, older: bool) -> Submission:
    allow = stores.settings.fetch_allow
    if upload.kind is Kind.CSV:
        options = read_options(upload.fields, allow=allow, older=older)
        content_hash = hash_of_file(upload.file, options) if hashed else None
        return Submission(options, read_manifest(upload.file, stores.limits), content_hash)
    upload.file.seek(0)
    try:
        body = parse_body(upload.file.read())
        products = body.pop("products")
        options = read_options({**upload.fields, **body}, allow=allow, older=older)
        content_hash = hash_of_bytes(canonical(products), options) if hashed else None
    except MalformedJsonError as error:
        raise Problem(400, "malformed", str(error)) from None
    return Submission(options, read_products(products, stores.limits), content_hash)


def _spooled(stores: Stores, submission: Submission, *, skip: bool) -> Spool:
    """The caller closes it."""
    spool = Spool(uuid7(), stores.limits)
    try:
        with closing(submission.found) as found:
            spool.fill(found, skip=skip)
    except UnsupportedFileError as error:
        spool.close()
        raise Problem(415, "unsupported_media_type", str(error)) from None
    except BaseException:
        spool.close()
        raise
    return spool


def _terms(stores: Stores) -> Terms:
    settings = stores.settings
    return Terms(
        public_url=settings.public_url,
        deadline=settings.deadline,
        idempotency_retention=settings.idempotency_retention,
        timeout_seconds=settings.accept_timeout_seconds,
    )


def _refused(spool: Spool) -> Problem:
    findings = spool.findings()
    count = spool.error_count
    told = (spool.fatal or spool.shown[0]).sentence()
    detail = f"The manifest has {count} error{'s' if count > 1 else ''}. {told}"
    return Problem(422, "invalid_manifest", detail, errors=findings["errors"], error_count=count)
