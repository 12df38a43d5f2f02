"""The page for people at `/`: its modules below `/app/`, the libraries they use below `/vendor/`."""

from urllib.parse import urlsplit

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from services.status.assets import MEDIA_TYPES, STATIC, asset_of, load
from shared.blobs import Blobs
from shared.errors import StorageError
from shared.http.context import Context, context_of

# Only Lit may make HTML from text, which it does with the constant parts of templates; and only thumb.js may name a
# worker's script, one of ours.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types lit-html thumb; img-src 'self' blob:"
)
# Not the notes and licences beside them.
FILES = load(
    path for folder in ("app", "vendor") for path in (STATIC / folder).rglob("*") if path.suffix in MEDIA_TYPES
)


def get_page(http_request: HttpRequest) -> Response:
    return _file(http_request, "app/index.html")


def get_asset(http_request: HttpRequest) -> Response:
    return _file(http_request, http_request.url.path.removeprefix("/"))


def _file(http_request: HttpRequest, name: str) -> Response:
    policy = " ".join([POLICY, *_bucket(context_of(http_request, Context).blobs)])
    return asset_of(FILES, name).answer(http_request, policy)


def _bucket(blobs: Blobs) -> list[str]:
    """The host to which an object store's pictures are redirected; a browser applies the policy to it too."""
    try:
        signed = blobs.signed_url("page", seconds=1)
    except StorageError:
        return []
    return [f"{urlsplit(signed).scheme}://{urlsplit(signed).netloc}"] if signed else []


ROUTES = [Route("/", get_page), Route("/app/{name:path}", get_asset), Route("/vendor/{name:path}", get_asset)]
