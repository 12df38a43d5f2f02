from collections.abc import Iterator

import pytest

from deploy.demo.client import ApiError, Client, Refused
from deploy.demo.journey import origin_at
from deploy.demo.origin import Origin, status
from deploy.demo.stack import DemoFailed


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
