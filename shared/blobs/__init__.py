"""The store of sources and renditions: a folder on disk, or an object store."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from shared.blobs.store import BlobMissing, Blobs, Put, erase_files, output_key, source_key

__all__ = ["BlobMissing", "Blobs", "Put", "connect", "erase_files", "output_key", "source_key"]


def connect(blob_url: str) -> Blobs:
    """`file:///path`, or `s3://`, `gs://`, `az://` with a bucket and perhaps a folder."""
    parts = urlsplit(blob_url)
    if parts.scheme == "file":
        from shared.blobs.disk import DiskBlobs  # noqa: PLC0415

        return DiskBlobs(Path(unquote(parts.path)))
    from shared.blobs.objects import ObjectBlobs  # noqa: PLC0415  obstore is large, and most stacks use the disk

    return ObjectBlobs(blob_url)
