"""By which names a server may be called, and which pages may write: on a real server, as browsers and programs call."""

import socket
from collections.abc import Iterator

import httpx
import pytest
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from shared.http.app import application
from shared.http.context import Context
from shared.http.origin import host_of
from shared.http.security_headers import DEFAULTS
from shared.settings import HttpSettings
from tests.serving import serving

READ_AND_WRITTEN: list[str] = []
FORM = {"Content-Type": "multipart/form-data; boundary=x"}


async def touched(http_request: HttpRequest) -> Response:
    READ_AND_WRITTEN.append(http_request.method)
    return Response("ok", headers={"Cache-Control": "public"})


def _settings(blobs: str, **given: object) -> HttpSettings:
    values = {"database_url": "postgresql://nobody@127.0.0.1:1/nothing", "blob_url": blobs, **given}
    return HttpSettings.model_validate(values)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = _settings(
        tmp_path_factory.mktemp("blobs").as_uri(),
        public_url="https://Halftone.example/below",
        allowed_hosts="intern.example,10.0.0.9:8080, [fd00::1]",
    )
    routes = [Route("/touched", touched, methods=["GET", "POST", "PUT", "DELETE"])]
    with serving(application(Context(settings), routes)) as address, httpx.Client(base_url=address) as client:
        yield client


@pytest.fixture(autouse=True)
def _untouched() -> None:
    READ_AND_WRITTEN.clear()


OURS = ["halftone.example", "HALFTONE.example:1234", "halftone.example.", "intern.example", "10.0.0.9", "[fd00::1]:80"]
STRANGE = [
    *("evil.example", "localhost", "127.0.0.1:8080", "halftone.example.evil.example", "evil-halftone.example"),
    *("halftone.example@evil.example", "halftone.example:80:80", "halftone.example:x", "[halftone.example]", "fd00::1"),
    *(
        "",
        "halftone.example,evil.example",
        "halftone.example evil.example",
        "http://halftone.example",
        "halftone.example/",
    ),
]


@pytest.mark.parametrize("host", OURS)
def test_the_server_is_called_by_its_names_on_any_port(client: httpx.Client, host: str) -> None:
    assert client.get("/touched", headers={"Host": host}).status_code == 200
    assert client.post("/touched", headers={"Host": host}, content=b"x").status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("host", STRANGE)
def test_any_other_name_is_refused_before_anything_is_done(client: httpx.Client, method: str, host: str) -> None:
    answer = client.request(method, "/touched", headers={"Host": host})
    assert answer.status_code == 421
    assert READ_AND_WRITTEN == []
    if method != "HEAD":
        assert answer.json()["code"] == "unknown_host"
        assert "HALFTONE_ALLOWED_HOSTS" in answer.json()["detail"]
        assert "evil" not in answer.text


def test_of_two_names_neither_counts(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port or 80), timeout=10) as connection:
        connection.sendall(b"GET /touched HTTP/1.1\r\nHost: intern.example\r\nHost: evil.example\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 4")
    assert READ_AND_WRITTEN == []


@pytest.mark.parametrize("path", ["/nothing", "/v1/requests", "/docs"])
def test_what_has_no_route_yet_is_covered_too(client: httpx.Client, path: str) -> None:
    assert client.get(path, headers={"Host": "evil.example"}).status_code == 421
    refused = client.post(path, headers={"Host": "intern.example", "Sec-Fetch-Site": "cross-site"})
    assert refused.status_code == 403


def test_probes_may_come_by_the_address_of_a_container(client: httpx.Client) -> None:
    assert client.get("/healthz").text == "ok\n"
    assert client.get("/readyz").status_code == 503
    assert client.get("/metrics").status_code == 200


OTHER_PAGES = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "something-new"},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://halftone.example"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "halftone.example"},
    {"Origin": "https://halftone.example.evil.example"},
    {"Origin": "https://halftone.example@evil.example"},
    {"Origin": "file://"},
    {"Origin": "chrome-extension://intern.example"},
]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("sent", OTHER_PAGES)
def test_a_page_of_another_site_may_not_write(client: httpx.Client, method: str, sent: dict[str, str]) -> None:
    answer = client.request(method, "/touched", headers={"Host": "halftone.example"} | FORM | sent, content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")
    assert answer.headers["content-type"] == "application/problem+json"
    assert READ_AND_WRITTEN == []


def test_of_several_origins_each_must_be_ours(client: httpx.Client) -> None:
    for name, good, bad in (
        ("Sec-Fetch-Site", "same-origin", "cross-site"),
        ("Origin", "https://halftone.example", "https://evil.example"),
    ):
        sent = [("Host", "halftone.example"), (name, good), (name, bad)]
        assert client.post("/touched", headers=sent).status_code == 403


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://halftone.example"},
        {"Origin": "http://intern.example:8080"},
    ],
)
def test_programs_and_our_own_pages_may(client: httpx.Client, sent: dict[str, str]) -> None:
    answer = client.post("/touched", headers={"Host": "halftone.example"} | FORM | sent, content=b"x")
    assert answer.status_code == 200


def test_a_page_of_another_site_may_show_what_may_be_read(client: httpx.Client) -> None:
    sent = {"Host": "halftone.example", "Sec-Fetch-Site": "cross-site", "Origin": "https://shop.example"}
    answer = client.get("/touched", headers=sent)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("path", ["/touched", "/nothing", "/v1/requests", "/healthz"])
def test_every_answer_has_the_security_headers_unless_it_sets_its_own(client: httpx.Client, path: str) -> None:
    for host, method in (("halftone.example", "GET"), ("halftone.example", "PATCH"), ("evil.example", "GET")):
        answer = client.request(method, path, headers={"Host": host})
        for name, value in DEFAULTS:
            own = name == b"cache-control" and path == "/touched" and answer.status_code == 200
            assert answer.headers.get_list(name.decode()) == (["public"] if own else [value.decode()])


@pytest.mark.parametrize(
    ("given", "hosts"),
    [
        ({}, {"127.0.0.1", "localhost", "::1"}),
        ({"public_url": "http://localhost:8080"}, {"127.0.0.1", "localhost", "::1"}),
        ({"public_url": "http://[::1]:8080"}, {"127.0.0.1", "localhost", "::1"}),
        ({"public_url": "https://shop.example"}, {"shop.example"}),
        ({"public_url": "https://bücher.example"}, {"xn--bcher-kva.example"}),
        ({"public_url": "https://shop.example", "allowed_hosts": "Localhost:80"}, {"shop.example", "localhost"}),
    ],
)
def test_the_loopback_s_names_are_known_where_the_server_is_public_there(
    given: dict[str, object], hosts: set[str]
) -> None:
    assert _settings("file:///blobs", **given).hosts == hosts


@pytest.mark.parametrize("given", ["*", "a b", "https://a.example", "a.example/x", "user@a.example", "::1"])
def test_a_wrong_name_is_refused_at_the_start(given: str) -> None:
    with pytest.raises(ValueError, match="must be a host name"):
        _settings("file:///blobs", allowed_hosts=given)


def test_a_host_is_read_without_port_brackets_and_final_dot() -> None:
    assert [host_of(one) for one in (b"A.b:1", b"[::1]:1", b"a.", b"a\xff", b"[::1")] == ["a.b", "::1", "a", None, None]
