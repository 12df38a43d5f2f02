"""The `Idempotency-Key` of an upload, made of what is uploaded.

The same file with the same options and webhook gives the same key in every process, so an upload that was interrupted
and is started again finds its first request. The service remembers a key for 24 h; after that it is a new upload.
Halftone's ADR 24 says why.
"""

import hashlib
import json
from typing import IO

from halftone_client.shapes import Options

VERSION = b"halftone-client 1\0"


def key_of(manifest: IO[bytes], options: Options) -> str:
    """The key of this content; reads the file from its start, a block at a time."""
    manifest.seek(0)
    digest = hashlib.sha256(VERSION)
    digest.update(json.dumps(options, sort_keys=True).encode() + b"\0")
    while block := manifest.read(1 << 20):
        digest.update(block)
    return f"sha256-{digest.hexdigest()}"
