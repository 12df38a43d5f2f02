"""The files of the pages, which are sent with `no-cache` and an ETag: a browser never mixes those of two versions."""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from services.status.views import matches
from shared.http.problems import not_found

STATIC = Path(__file__).parent / "static"
MEDIA_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".csv": "text/csv",
}
"""By suffix; all others are plain text."""


@dataclass(frozen=True, slots=True)
class Asset:
    content: bytes
    tag: str
    media_type: str

    @classmethod
    def of(cls, path: Path) -> "Asset":
        content = path.read_bytes()
        tag = f'"{sha256(content).hexdigest()[:32]}"'
        return cls(content, tag, MEDIA_TYPES.get(path.suffix, "text/plain"))

    def answer(self, http_request: HttpRequest, policy: str) -> Response:
        """`policy`: the Content-Security-Policy that it is shown under."""
        headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache", "ETag": self.tag}
        if matches(self.tag, http_request.headers.get("if-none-match")):
            return Response(None, 304, headers)
        return Response(self.content, headers=headers, media_type=self.media_type)


def load(paths: Iterable[Path]) -> dict[str, Asset]:
    """Those of `paths` that are files, by their names below `static`."""
    return {path.relative_to(STATIC).as_posix(): Asset.of(path) for path in paths if path.is_file()}


def asset_of(assets: dict[str, Asset], name: str) -> Asset:
    """Raises Problem: 404 if there is none."""
    if name not in assets:
        raise not_found("file")
    return assets[name]
