"""Blobs in S3, Google Cloud Storage or Azure, through obstore; these stores are durable and atomic by themselves.

What an image costs (ADR 28): two PUTs and a GET in the worker, a HEAD for each redirect, and a list and a deletion for
every thousand of a request's files.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store, from_url

from shared.blobs.store import CHUNK, STORE_ID, Access, BlobMissing, Blobs, Bytes, Method, StoreRefused, checked
from shared.errors import StorageError
from shared.formats import media_type_of

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

DELETE_AT_ONCE = 1000
"""What S3 lists and deletes with one call at most."""
CONNECT_SECONDS = 3
WHOLE_ANSWER_SECONDS = 300
"""A source that is streamed to a slow client keeps its connection open for so long."""
IMMUTABLE = "public, max-age=31536000, immutable"
_CODE = re.compile(r"(?:<Code>|\(code: )(\w+)")
"""Of an answer, or of one of several that were to be deleted."""
_REASONS: Mapping[str, str] = {
    "NoSuchBucket": "there is no such bucket: create it, or correct BLOB_URL and AWS_ENDPOINT_URL",
    "InvalidAccessKeyId": "its server does not know the access key in AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY is not the secret of AWS_ACCESS_KEY_ID",
    "InvalidToken": "AWS_SESSION_TOKEN is wrong",
    "ExpiredToken": "AWS_SESSION_TOKEN has expired",
    "RequestTimeTooSkewed": "the clocks of this machine and of its server differ by more than 15 minutes",
    "AccessDenied": "the access key lacks a right that docs/bucket.md lists",
    "AllAccessDisabled": "its owner has disabled it",
    "AuthorizationHeaderMalformed": "AWS_REGION is not the region of the bucket",
    "PermanentRedirect": "AWS_REGION or AWS_ENDPOINT_URL is not that of the bucket",
    "IllegalLocationConstraintException": "AWS_REGION is not the region of the bucket",
}
"""What only a person can put right, by S3's error code."""
_PLAIN_HTTP = "its address is plain http: set AWS_ALLOW_HTTP=true if you mean that"
_NO_CREDENTIALS = "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


class ObjectBlobs(Blobs):
    """`url` is `s3://bucket/folder` or the like; what `access` leaves open is found as the cloud's own tools do."""

    def __init__(self, url: str, access: Access) -> None:
        self._url = url
        seconds = timedelta(seconds=access.answer_seconds)
        # `read_timeout` is also that for the beginning of an answer.
        self._client: ClientConfig = {
            "allow_http": access.allow_http,
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "read_timeout": seconds,
            "timeout": timedelta(seconds=WHOLE_ANSWER_SECONDS),
        }
        # Repeated at 500, 503 Slow Down and lost answers, with growing pauses: each of our calls may be made twice.
        self._retry: RetryConfig = {
            "max_retries": 10,
            "retry_timeout": 2 * seconds,  # a call that was given up is repeated once at least
            "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
        }
        given: dict[str, str | None] = {}
        if urlsplit(url).scheme == "s3":
            given |= {"access_key_id": access.key_id, "secret_access_key": access.secret}
            given |= {"region": access.region, "endpoint": access.endpoint}
        self._store = self._signer = self._from_url(url, given)
        if given and access.public_endpoint:
            self._signer = self._from_url(url, given | {"endpoint": access.public_endpoint})

    def _from_url(self, url: str, given: Mapping[str, str | None]) -> ObjectStore:
        config: Any = {name: value for name, value in given.items() if value}
        _unset_empty_variables()
        with self._errors(url):
            return from_url(url, config=config, client_options=self._client, retry_config=self._retry)

    def check(self) -> None:
        with suppress(BlobMissing):
            self.get(STORE_ID)

    def put(self, key: str, data: Bytes, *, durable: bool = True) -> None:  # noqa: ARG002
        """One call for any size: parts of an upload in parts stay, and cost, where its writer is killed."""
        attributes = {"Content-Type": media_type_of(key)} | ({"Cache-Control": IMMUTABLE} if "/out/" in key else {})
        with self._errors(key):
            obstore.put(self._store, checked(key), data, attributes=cast("Any", attributes), use_multipart=False)

    def get(self, key: str) -> bytes:
        with self._errors(key):
            return obstore.get(self._store, checked(key)).bytes().to_bytes()

    def stream(self, key: str) -> Iterator[bytes]:
        with self._errors(key):
            found = obstore.get(self._store, checked(key))
        return self._chunks(key, found)

    def size(self, key: str) -> int:
        with self._errors(key):
            return obstore.head(self._store, checked(key))["size"]

    def delete(self, key: str) -> None:
        with suppress(BlobMissing), self._errors(key):
            obstore.delete(self._store, checked(key))

    def delete_prefix(self, prefix: str) -> None:
        """Page by page: a deletion that is broken off goes on where it was when it is repeated."""
        with self._errors(prefix):
            for found in obstore.list(self._store, f"{checked(prefix)}/", chunk_size=DELETE_AT_ONCE):
                obstore.delete(self._store, [blob["path"] for blob in found])

    def folders(self) -> Iterator[str]:
        with self._errors("the store"):
            for name in obstore.list_with_delimiter(self._store)["common_prefixes"]:
                yield name.strip("/")

    def keys(self, folder: str) -> Iterator[tuple[str, int]]:
        with self._errors(folder):
            for found in obstore.list(self._store, f"{checked(folder)}/", chunk_size=DELETE_AT_ONCE):
                yield from ((blob["path"], blob["size"]) for blob in found)

    def changed_at(self, folder: str) -> datetime | None:
        """The newest blob in it: object stores have no folders."""
        with self._errors(folder):
            found = obstore.list(self._store, f"{checked(folder)}/")
            return max((blob["last_modified"] for chunk in found for blob in chunk), default=None)

    def sweep_temporary(self, older_than_seconds: float) -> int:  # noqa: ARG002
        return 0  # an upload is complete or absent

    def signed_url(self, key: str, *, seconds: float, method: Method = "GET") -> str:
        store = cast("S3Store | GCSStore | AzureStore", self._signer)
        with self._errors(key):
            return obstore.sign(store, method, "" if not key else checked(key), timedelta(seconds=seconds))

    def _chunks(self, key: str, found: "obstore.GetResult") -> Iterator[bytes]:
        with self._errors(key):
            for chunk in found.stream(min_chunk_size=CHUNK):
                yield bytes(chunk)

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Raise StoreRefused for what only a person can put right, BlobMissing, or StorageError."""
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            said = str(error).partition("\n\nDebug source")[0]
            if reason := _reason(said):
                raise StoreRefused(f"{self._url}: {reason}.") from error
            if isinstance(error, FileNotFoundError):
                raise BlobMissing(f"{what} is not there.") from error
            raise StorageError(f"{what}: {' '.join(said.split())[:300]}") from error


def _unset_empty_variables() -> None:
    """Obstore takes an empty AWS_... for a value; everywhere else in Halftone it is as none."""
    for name in [name for name, value in os.environ.items() if name.startswith("AWS_") and not value]:
        del os.environ[name]


def _reason(said: str) -> str | None:
    code = _CODE.search(said)
    if code is not None and code[1] in _REASONS:
        return _REASONS[code[1]]
    if "builder error" in said and " http://" in said:
        return _PLAIN_HTTP
    if "169.254.169.254" in said:  # where the machines of a cloud find theirs
        return _NO_CREDENTIALS
    return None
