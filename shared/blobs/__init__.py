"""The store of sources and renditions: a folder on disk, or an object store."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from shared.blobs.store import Access, BlobMissing, Blobs, Put, StoreRefused, erase_files, output_key, source_key

__all__ = [
    "Access",
    "BlobMissing",
    "Blobs",
    "Put",
    "StoreRefused",
    "connect",
    "erase_files",
    "output_key",
    "source_key",
]
_ANYONE = Access()


def connect(blob_url: str, access: Access = _ANYONE) -> Blobs:
    """`file:///path`, or `s3://`, `gs://`, `az://` with a bucket and perhaps a folder."""
    parts = urlsplit(blob_url)
    if parts.scheme == "file":
        from shared.blobs.disk import DiskBlobs  # noqa: PLC0415

        return DiskBlobs(Path(unquote(parts.path)))
    from shared.blobs.objects import ObjectBlobs  # noqa: PLC0415  obstore is large, and most stacks use the disk

    return ObjectBlobs(blob_url, access)
