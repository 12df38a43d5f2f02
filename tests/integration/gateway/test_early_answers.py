"""Every refusal before the end of a body reaches the client at once and whole, through the real gateway.

Whatever the client sends, and whether it reads meanwhile. And no connection of it is left in the service.
"""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from select import select
from urllib.parse import urlsplit

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from services.ingest.app import create
from services.ingest.settings import IngestSettings
from shared.db import Database
from shared.http import connection
from shared.http.places import PATIENCE, Kind
from tests.integration.gateway.conftest import caddy
from tests.integration.keys.conftest import add_account, add_key
from tests.integration.seed import sql
from tests.serving import WITHOUT_TLS, serving
from tests.stack import Stack, reserve_ports, until

MB = 1_000_000
HUGE = b"Content-Length: 10000000000\r\n"
ALL = b"x" * 20 * MB
CHUNK = b"f4240\r\n" + b"x" * MB + b"\r\n"
WAYS = {
    "a length and no body": (HUGE, b""),
    "expecting 100": (HUGE + b"Expect: 100-continue\r\n", b""),
    "all before it reads": (b"Content-Length: %d\r\n" % len(ALL), ALL),
    "chunks, all before it reads": (b"Transfer-Encoding: chunked\r\n", CHUNK * 20 + b"0\r\n\r\n"),
    "one chunk of many": (b"Transfer-Encoding: chunked\r\n", CHUNK),
}


@contextmanager
def served(app: Starlette, factory: pytest.TempPathFactory) -> Iterator[tuple[str, uvicorn.Server]]:
    """A gateway before the service, and the service's server, which knows its connections."""
    (port,) = reserve_ports(1)
    servers = list[uvicorn.Server]()

    class Server(uvicorn.Server):
        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            servers.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn, "Server", Server)
        with serving(app) as inner:
            at = urlsplit(inner).port or 0
            with caddy(
                factory.mktemp("gateway"), port, ingest=at, status=at, checks=False, max_body="40MB", body_seconds=60
            ):
                yield f"http://127.0.0.1:{port}", servers[0]


@pytest.fixture(scope="module")
def settings(migrated: Database, servers: Stack, tmp_path_factory: pytest.TempPathFactory) -> IngestSettings:
    return IngestSettings(
        database_url=migrated.engine.url.set(drivername="postgresql").render_as_string(hide_password=False),
        redis_url=servers.redis_url,
        blob_url=tmp_path_factory.mktemp("blobs").as_uri(),
        max_upload_bytes=19 * MB,
        spool_bytes=6 * 19 * MB,
        http_at_once=8,
    )


@pytest.fixture(scope="module")
def apps(settings: IngestSettings) -> dict[str, Starlette]:
    return {auth: create(settings.model_copy(update={"auth": auth})) for auth in ("off", "required")}


@pytest.fixture(scope="module")
def doors(apps: dict[str, Starlette], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """With keys, and without; when all is over nothing is left of any connection."""
    with ExitStack() as stack:
        both = {auth: stack.enter_context(served(app, tmp_path_factory)) for auth, app in apps.items()}
        yield {auth: url for auth, (url, _) in both.items()}
        for _, server in both.values():
            until(lambda server=server: not server.server_state.connections, within=10)  # type: ignore[misc]


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rest that does not come is waited for less long; one that comes after a pause may be late."""
    way = request.node.callspec.params.get("way") if hasattr(request.node, "callspec") else None
    goes_on = way is not None and len(WAYS[way][1]) > 2 * MB
    monkeypatch.setattr(connection, "DROP_IDLE_SECONDS", 10 if goes_on else 1.5)


def sent(
    url: str, head: bytes, rest: bytes, *, path: str = "/v1/requests", host: str = "localhost", source: str = ""
) -> tuple[int, dict[str, object], bytes]:
    """Status, document and head of the answer, read only once all is sent."""
    parts = urlsplit(url)
    own = (source, 0) if source else None
    with socket.create_connection((parts.hostname, parts.port), timeout=20, source_address=own) as client:
        kind = b"" if b"Content-Type" in head else b"Content-Type: text/csv\r\n"
        client.sendall(f"POST {path} HTTP/1.1\r\nHost: {host}\r\n".encode() + kind + head + b"\r\n")
        client.sendall(rest[:MB])
        if len(rest) > 2 * MB:
            time.sleep(0.8)  # the gateway hangs up 0.5 s after the end of an answer
            for start in range(MB, len(rest), MB):
                client.sendall(rest[start : start + MB])
        answer = client.makefile("rb").read().removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    response = answer.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in response[0].lower():
        size, _, body = response[2].partition(b"\r\n")
        document, end = body[: int(size, 16)], body[int(size, 16) :]
        assert end == b"\r\n0\r\n\r\n", "the answer does not end as it should"
    else:
        document = response[2]
    return int(answer.split()[1]), json.loads(document), response[0]


each_way = pytest.mark.parametrize("way", WAYS)


@each_way
@pytest.mark.parametrize(
    ("headers", "host", "status", "code"),
    [
        (b"", "evil.example", 421, "unknown_host"),
        (b"Origin: https://evil.example\r\n", "localhost", 403, "cross_site"),
        (b"Content-Type: text/html\r\n", "localhost", 415, "unsupported_media_type"),
        (b"", "localhost", 413, "too_large"),
    ],
)
def test_refused_by_its_headers(
    doors: dict[str, str], way: str, headers: bytes, host: str, status: int, code: str
) -> None:
    framing, body = WAYS[way]
    if code == "too_large" and way == "one chunk of many":
        pytest.skip("nothing says how much will come")
    answer = sent(doors["off"], headers + framing, body, host=host)
    assert (answer[0], answer[1]["code"], answer[1]["status"]) == (status, code, status)
    assert b"connection: close" in answer[2].lower()
    assert b"abandoned" not in answer[2].lower()


@each_way
@pytest.mark.parametrize("path", ["/upload", "/api/upload-csv/"])
def test_the_older_contracts_have_400_for_413(doors: dict[str, str], way: str, path: str) -> None:
    if way != "one chunk of many":
        answer = sent(doors["off"], *WAYS[way], path=path)
        assert (answer[0], answer[1]["code"]) == (400, "too_large")


@each_way
@pytest.mark.parametrize(("kind", "status"), [("missing_key", 401), ("missing_scope", 403), ("rate_limited", 429)])
def test_refused_for_its_key(doors: dict[str, str], database: Database, way: str, kind: str, status: int) -> None:
    framing, body = WAYS[way]
    account = add_account(database)
    key = add_key(database, account, "read" if kind == "missing_scope" else "write")
    if kind == "rate_limited":
        sql(database, "UPDATE account SET uploads_per_minute = 1 WHERE id = %(id)s", id=account)
        httpx.post(doors["required"] + "/v1/requests", headers=key.headers)
    given = b"" if kind == "missing_key" else f"Authorization: Bearer {key.text}\r\n".encode()
    answer = sent(doors["required"], given + framing, body)
    assert (answer[0], answer[1]["code"]) == (status, kind)


@contextmanager
def begun(url: str, source: str, size: int) -> Iterator[socket.socket]:
    """An upload of which a byte was sent."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20, source_address=(source, 0)) as client:
        head = f"POST /v1/requests HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n"
        client.sendall(head.encode() + b"X-Forwarded-For: 192.0.2.9\r\nContent-Type: text/csv\r\n\r\nx")
        yield client


def small(url: str, source: str) -> tuple[int, str]:
    """What a client at this address is told about an empty upload."""
    with httpx.Client(transport=httpx.HTTPTransport(local_address=source, verify=WITHOUT_TLS)) as client:
        answer = client.post(f"{url}/v1/requests", content=b"", headers={"Content-Type": "text/csv"})
    return answer.status_code, answer.json()["code"]


OURS, THEIRS = "127.0.0.1", "127.0.0.2"
TAKEN = (422, "invalid_manifest")


@each_way
def test_each_address_has_its_own_share_of_the_places(
    doors: dict[str, str], apps: dict[str, Starlette], way: str
) -> None:
    """The gateway states it, whatever the client says."""
    url, space = doors["off"], apps["off"].state.context.space
    with begun(url, OURS, 9), begun(url, OURS, 9):
        until(lambda: space.reserved == 2 * 9)  # both have a place: asked before, a small one takes it
        assert small(url, OURS) == (429, "too_many_at_once")
        answer = sent(url, *WAYS[way], source=OURS)
        assert (answer[0], answer[1]["code"]) == (429, "too_many_at_once")
        assert small(url, THEIRS) == TAKEN
    until(lambda: space.reserved == 0)
    until(lambda: small(url, OURS) == TAKEN)


@each_way
def test_no_place_is_left(doors: dict[str, str], apps: dict[str, Starlette], way: str) -> None:
    url, space = doors["off"], apps["off"].state.context.space
    with ExitStack() as stack:
        for number in range(8):
            stack.enter_context(begun(url, f"127.0.0.{10 + number // 2}", 9))
        until(lambda: space.reserved == 8 * 9)
        assert small(url, THEIRS) == (503, "busy")
        answer = sent(url, *WAYS[way], source=THEIRS)
        assert (answer[0], answer[1]["code"]) == (503, "busy")
        assert b"retry-after: 5" in answer[2].lower()
    until(lambda: space.reserved == 0)
    until(lambda: small(url, THEIRS) == TAKEN)


def test_no_room_is_left_on_the_disk(
    doors: dict[str, str], apps: dict[str, Starlette], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "DROP_IDLE_SECONDS", 10)
    url, space = doors["off"], apps["off"].state.context.space
    with ExitStack() as stack:
        for number in range(6):
            stack.enter_context(begun(url, f"127.0.0.{20 + number}", 19 * MB))
        until(lambda: space.reserved == 6 * 19 * MB)
        answer = sent(url, b"Content-Length: 18000000\r\n", ALL[: 18 * MB], source=THEIRS)
        assert (answer[0], answer[1]["code"]) == (503, "busy")
    until(lambda: small(url, THEIRS) == TAKEN)


@pytest.mark.parametrize("size", [200_000, 12 * MB])
def test_a_slow_upload_gives_way_with_an_answer(
    doors: dict[str, str], apps: dict[str, Starlette], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setitem(PATIENCE, Kind.UPLOAD, 0.3)
    url, space = doors["off"], apps["off"].state.context.space
    until(lambda: space.reserved == 0)  # nothing of the test before has a place
    with begun(url, OURS, size) as one, begun(url, OURS, size) as other:
        until(lambda: space.reserved == 2 * size)  # both are there, before others come
        ended = until(lambda: (small(url, OURS), select([one, other], [], [], 0.1)[0])[1])
        answer = ended[0].makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"The upload was slow" in answer
    assert answer.endswith(b"\r\n0\r\n\r\n")
