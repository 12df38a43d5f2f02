"""Blobs in S3, Google Cloud Storage or Azure, through obstore; these stores are durable and atomic by themselves."""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import cast
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store, from_url

from shared.blobs.store import CHUNK, Blobs, Bytes, checked, storage_errors
from shared.formats import media_type_of
from shared.secret_files import secrets_from_files

DELETE_AT_ONCE = 1000
_storage_errors = partial(storage_errors, errors=(BaseError, OSError, ValueError))


class ObjectBlobs(Blobs):
    """`url` is `s3://bucket/folder` or the like; credentials are found as the cloud's own tools find them."""

    def __init__(self, url: str) -> None:
        with _storage_errors(url):
            self._store: ObjectStore = from_url(url, config=_keys(url))  # type: ignore[call-overload]

    def put(self, key: str, data: Bytes, *, durable: bool = True) -> None:  # noqa: ARG002
        with _storage_errors(key):
            obstore.put(self._store, checked(key), data, attributes={"Content-Type": media_type_of(key)})

    def get(self, key: str) -> bytes:
        with _storage_errors(key):
            return obstore.get(self._store, checked(key)).bytes().to_bytes()

    def stream(self, key: str) -> Iterator[bytes]:
        with _storage_errors(key):
            found = obstore.get(self._store, checked(key))
        return _chunks(key, found)

    def size(self, key: str) -> int:
        with _storage_errors(key):
            return obstore.head(self._store, checked(key))["size"]

    def delete(self, key: str) -> None:
        with _storage_errors(key):
            try:
                obstore.delete(self._store, checked(key))
            except FileNotFoundError:
                return

    def delete_prefix(self, prefix: str) -> None:
        with _storage_errors(prefix):
            for found in obstore.list(self._store, f"{checked(prefix)}/", chunk_size=DELETE_AT_ONCE):
                obstore.delete(self._store, [blob["path"] for blob in found])

    def folders(self) -> Iterator[str]:
        with _storage_errors("the store"):
            for name in obstore.list_with_delimiter(self._store)["common_prefixes"]:
                yield name.strip("/")

    def changed_at(self, folder: str) -> datetime | None:
        """The newest blob in it: object stores have no folders."""
        with _storage_errors(folder):
            found = obstore.list(self._store, f"{checked(folder)}/")
            return max((blob["last_modified"] for chunk in found for blob in chunk), default=None)

    def sweep_temporary(self, older_than_seconds: float) -> int:  # noqa: ARG002
        return 0  # an upload is complete or absent

    def signed_url(self, key: str, *, seconds: float) -> str:
        store = cast("S3Store | GCSStore | AzureStore", self._store)
        with _storage_errors(key):
            return obstore.sign(store, "GET", checked(key), timedelta(seconds=seconds))


def _keys(url: str) -> "dict[str, str]":
    """Those that were given in files; obstore finds the others in the environment."""
    prefix = {"s3": "AWS_", "az": "AZURE_"}.get(urlsplit(url).scheme, "-")
    return {name: value for name, value in secrets_from_files(os.environ).items() if name.startswith(prefix)}


def _chunks(key: str, found: "obstore.GetResult") -> Iterator[bytes]:
    with _storage_errors(key):
        for chunk in found.stream(min_chunk_size=CHUNK):
            yield bytes(chunk)
