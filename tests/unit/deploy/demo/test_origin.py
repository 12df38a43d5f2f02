from collections.abc import Iterator, Mapping

import pytest

from deploy.local.demo.failure import DemoFailed
from deploy.local.demo.gateway import Gateway, Refused
from deploy.local.demo.origin import Origin


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin(0, {"a.png": b"picture"}) as origin:
        yield origin


def url_of(origin: Origin, path: str) -> str:
    return f"http://127.0.0.1:{origin.server_port}{path}"


def test_the_origin_serves_its_pictures_and_404s_the_rest(origin: Origin) -> None:
    gateway = Gateway(url_of(origin, ""))
    assert gateway.read(url_of(origin, "/images/a.png")) == b"picture"
    with pytest.raises(Refused) as refusal:
        gateway.read(url_of(origin, "/images/b.png"))
    assert refusal.value.status == 404


def test_a_webhook_reaches_its_receiver_and_a_late_one_is_told_to_stop(origin: Origin) -> None:
    taken: list[bytes] = []

    def receive(body: bytes, _headers: Mapping[str, str]) -> int:
        taken.append(body)
        return 418

    gateway = Gateway(url_of(origin, ""))
    for path, status in (("/v1/requests?webhook_url=x", 418), ("/v1/requests?webhook_url=y", 410)):
        origin.receivers = {"/v1/requests?webhook_url=x": receive}
        with pytest.raises(Refused) as refusal:
            gateway.upload(b"body", webhook_url=path[-1])
        assert refusal.value.status == status
    assert taken == [b"body"]


def test_a_taken_port_is_named(origin: Origin) -> None:
    with pytest.raises(DemoFailed, match=f"port {origin.server_port} on 127.0.0.1 is taken"):
        Origin(origin.server_port, {})


def test_nobody_there_is_one_sentence() -> None:
    with Origin(0, {}) as gone:
        url = url_of(gone, "/")
    with pytest.raises(DemoFailed, match="does not answer"):
        Gateway(url).read(url)
