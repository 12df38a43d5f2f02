"""The page for people at `/`: its modules below `/app/`, the libraries they use below `/vendor/`.

They are sent with `no-cache` and an ETag, so that a browser never mixes the modules of two versions.
"""

from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from services.status.views import matches
from shared.blobs import Blobs
from shared.errors import StorageError
from shared.http.context import Context, context_of
from shared.http.problems import not_found

STATIC = Path(__file__).parent / "static"
MEDIA_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".csv": "text/csv",
}
# Only Lit may make HTML from text, which it does with the constant parts of templates; and only thumb.js may name a
# worker's script, one of ours.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types lit-html thumb; img-src 'self' blob:"
)
FILES = {
    path.relative_to(STATIC).as_posix(): path.read_bytes()
    for folder in ("app", "vendor")
    for path in (STATIC / folder).rglob("*")
    if path.suffix in MEDIA_TYPES
}
TAGS = {name: f'"{sha256(content).hexdigest()[:32]}"' for name, content in FILES.items()}


def get_page(http_request: HttpRequest) -> Response:
    return _file(http_request, "app/index.html")


def get_asset(http_request: HttpRequest) -> Response:
    return _file(http_request, http_request.url.path.removeprefix("/"))


def _file(http_request: HttpRequest, name: str) -> Response:
    if name not in FILES:
        raise not_found("file")
    policy = " ".join([POLICY, *_bucket(context_of(http_request, Context).blobs)])
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache", "ETag": TAGS[name]}
    if matches(TAGS[name], http_request.headers.get("if-none-match")):
        return Response(None, 304, headers)
    return Response(FILES[name], headers=headers, media_type=MEDIA_TYPES[Path(name).suffix])


def _bucket(blobs: Blobs) -> list[str]:
    """The host to which an object store's pictures are redirected; a browser applies the policy to it too."""
    try:
        signed = blobs.signed_url("page", seconds=1)
    except StorageError:
        return []
    return [f"{urlsplit(signed).scheme}://{urlsplit(signed).netloc}"] if signed else []


ROUTES = [Route("/", get_page), Route("/app/{name:path}", get_asset), Route("/vendor/{name:path}", get_asset)]
