import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from deploy.demo.journey import origin_at
from deploy.demo.origin import Origin, status
from deploy.demo.stack import DemoFailed
from tests.api import ApiError, Client, Refused


@pytest.fixture
def origin() -> Iterator[Origin]:
    with origin_at(0) as origin:
        origin.add("/images/a.png", b"picture")
        yield origin


def test_the_origin_serves_its_pictures_and_404s_the_rest(origin: Origin) -> None:
    client = Client(origin.url(""))
    assert client.read("/images/a.png") == client.read(origin.url("/images/a.png")) == b"picture"
    with pytest.raises(Refused) as refusal:
        client.read("/images/b.png")
    assert refusal.value.status == 404


def test_a_webhook_reaches_its_receiver_and_one_of_an_earlier_demo_is_stopped(origin: Origin) -> None:
    origin.on("/ours", status(418))
    for path, code in (("/ours", 418), ("/earlier", 410)):
        with pytest.raises(Refused) as refusal:
            Client(origin.url("")).call("POST", path, body=b"body")
        assert refusal.value.status == code
    assert [post.body for post in origin.posts("/ours")] == [b"body"]


def test_a_taken_port_is_named(origin: Origin) -> None:
    with pytest.raises(DemoFailed, match=f"port {origin.port} on 127.0.0.1 is taken"):
        origin_at(origin.port)


def test_an_unreachable_server_is_one_sentence() -> None:
    with Origin() as gone:
        url = gone.url("/")
    with pytest.raises(ApiError, match="does not answer"):
        Client(url).read(url)


def test_an_address_that_is_not_http_is_refused() -> None:
    with pytest.raises(ApiError, match="not an HTTP address"):
        Client("http://127.0.0.1:1").read("file:///etc/passwd")


def test_the_proxies_of_the_environment_are_ignored(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    with Origin() as gone:
        monkeypatch.setenv("HTTP_PROXY", gone.url(""))
    assert Client(origin.url("")).read("/images/a.png") == b"picture"


def test_an_answer_that_breaks_off_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:
        broken = pool.submit(_answer_by_half, server)
        with pytest.raises(ApiError, match="/path broke off: "):
            Client(f"http://127.0.0.1:{server.getsockname()[1]}").read("/path?secret")
        broken.result()


def _answer_by_half(server: socket.socket) -> None:
    with server.accept()[0] as connection:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
