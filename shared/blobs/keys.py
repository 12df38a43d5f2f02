"""Keys of blobs: `{request_id}/source/{sha256}` or `{request_id}/out/{sha256}.{ext}`, and their folders."""

import re
from uuid import UUID

from shared.errors import StorageError

# Every part begins with a letter or digit: no "..", no empty part, no name of our temporary files.
_KEY = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*(/[0-9A-Za-z][0-9A-Za-z._-]*)*")


class BlobMissing(StorageError):
    """There is no such blob, or not any more."""


def source_key(request_id: UUID, sha256: str) -> str:
    return f"{request_id}/source/{sha256}"


def output_key(request_id: UUID, sha256: str, extension: str) -> str:
    return f"{request_id}/out/{sha256}.{extension}"


def checked(key: str) -> str:
    """The key itself; raises StorageError for a key that could lead out of the store."""
    if len(key) > 512 or not _KEY.fullmatch(key):
        raise StorageError(f"Not a blob's key: {key[:80]!r}.")
    return key
