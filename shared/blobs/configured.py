"""The store that a service uses, from its settings."""

from urllib.parse import urlsplit

from shared.blobs import Access, Blobs, StoreRefused, connect
from shared.blobs.moving import MovingBlobs
from shared.errors import StorageError
from shared.log import get_logger
from shared.settings import BucketSettings, Settings, exit_with

log = get_logger(__name__)
ANSWER_SECONDS = 15.0


def open_store(settings: Settings, *, answer_seconds: float = ANSWER_SECONDS) -> Blobs:
    """Open it and see whether it answers.

    A store that refuses us (wrong credentials, no bucket) ends the process with one sentence. One that is away does
    not: it may be back before anyone asks for a file.
    """
    access = access_of(settings, answer_seconds=answer_seconds)
    try:
        store = connect(settings.blob_url, access)
        if settings.blob_fallback_url:
            store = MovingBlobs(store, connect(settings.blob_fallback_url, access))
    except StorageError as error:
        exit_with([f"BLOB_URL: {error}"])
    try:
        store.check()
    except StoreRefused as refused:
        exit_with([f"BLOB_URL: {refused}"])
    except StorageError as error:
        log.warning("store_away", error=str(error))
    return store


def access_of(settings: BucketSettings, *, answer_seconds: float = ANSWER_SECONDS) -> Access:
    """How to reach a bucket."""
    return Access(
        key_id=settings.aws_access_key_id,
        secret=settings.aws_secret_access_key,
        region=settings.aws_region,
        endpoint=settings.aws_endpoint_url,
        public_endpoint=settings.blob_public_endpoint,
        allow_http=settings.aws_allow_http or _is_near(settings.aws_endpoint_url),
        answer_seconds=answer_seconds,
    )


def _is_near(endpoint: str | None) -> bool:
    """Whether its host is a name without a dot, which means something in one's own network alone: a container's."""
    host = urlsplit(endpoint or "").hostname or "."
    return "." not in host and ":" not in host
