"""Where a user's URL may not lead, and that nothing is dialled but what was checked."""

import errno
from contextlib import closing
from ipaddress import ip_address

import pytest

from shared.addresses import Address
from shared.egress import Egress, connection, resolver
from shared.errors import BlockedUrl, ConnectFailure, DnsFailure
from shared.urls import refusal
from tests.origin import Origin, redirect
from tests.unit.shared.egress.conftest import failure, get


def names(monkeypatch: pytest.MonkeyPatch, *answers: tuple[str, ...]) -> list[str]:
    """Every name resolves to the first answer, then to the second...; returns the names that were looked up."""
    asked: list[str] = []

    def look_up(host: str) -> tuple[Address, ...]:
        asked.append(host)
        return tuple(ip_address(text) for text in answers[min(len(asked), len(answers)) - 1])

    monkeypatch.setattr(resolver, "look_up", look_up)
    return asked


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.com/a", "http://user:secret@example.com/", "http://", "http://a\x00b/"),
        *("http://127.0.0.1:PORT/", "http://2130706433:PORT/", "http://[::1]:PORT/", "http://[::ffff:127.0.0.1]:PORT/"),
        *("http://localhost:PORT/", "http://localhost.:PORT/", "http://printer.local/", "http://intranet/"),
        *("http://169.254.169.254/", "http://shop.example:25/"),
    ],
)
def test_a_url_is_blocked_by_its_form_without_a_lookup(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    asked = names(monkeypatch, ("127.0.0.1",))
    assert isinstance(failure(Egress(), url.replace("PORT", str(origin.port))), BlockedUrl)
    assert (asked, origin.connections) == ([], 0)


@pytest.mark.parametrize(
    ("host", "looked_up"),
    [("faß.de", "xn--fa-hia.de"), ("i❤.ws", "xn--i-7iq.ws"), ("BÜCHER.example.", "xn--bcher-kva.example")],
)
def test_the_name_that_an_upload_accepts_is_the_name_that_is_looked_up(
    monkeypatch: pytest.MonkeyPatch, host: str, looked_up: str
) -> None:
    asked = names(monkeypatch, ("127.0.0.1",))
    url = f"http://{host}/a"
    assert refusal(url) is None
    assert failure(Egress(), url).detail == f"The address of {looked_up} is not public."
    assert asked == [looked_up]


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("1.1.1.1", "127.0.0.1")])
def test_a_name_with_an_address_inside_is_blocked(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    names(monkeypatch, addresses)
    error = failure(Egress(), f"http://shop.example:{origin.port}/a")
    assert isinstance(error, BlockedUrl)
    assert error.detail == "The address of shop.example is not public."
    assert origin.connections == 0


def test_of_many_addresses_all_are_judged_and_sixteen_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    dialled: list[Address] = []

    async def refuse(_: object, address: Address, __: object) -> None:
        dialled.append(address)
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    monkeypatch.setattr(connection, "_connect", refuse)
    many = tuple(f"1.1.{number // 256}.{number % 256}" for number in range(2000))
    names(monkeypatch, many)
    assert isinstance(failure(Egress(), "http://shop.example/a"), ConnectFailure)
    assert [str(address) for address in dialled] == [*many[:16], *many[:16]]  # a connect failure is tried once more
    names(monkeypatch, (*many, "10.0.0.1"))
    assert isinstance(failure(Egress(), "http://shop.example/a"), BlockedUrl)
    assert len(dialled) == 32


def test_a_redirect_inside_is_blocked(origin: Origin, egress: Egress) -> None:
    with Origin() as inside:
        inside.add("/secret", b"secret")
        url = origin.on("/a", redirect(inside.url("/secret")))
        assert isinstance(failure(egress, url), BlockedUrl)
        assert inside.connections == 0


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "ftp://example.com/", "http://u:p@example.com/", "http://[::1", "http://://["]
)
def test_a_redirect_to_a_url_of_a_wrong_form_is_blocked(origin: Origin, egress: Egress, to: str) -> None:
    error = failure(egress, origin.on("/a", redirect(to)))
    assert isinstance(error, BlockedUrl)
    assert error.detail.startswith("127.0.0.1 redirects to a URL that is refused. The URL")


def test_the_allowed_pair_is_the_only_exception(origin: Origin, egress: Egress) -> None:
    with Origin() as other:
        assert get(egress, origin.add("/a", b"x")) == b"x"
        assert isinstance(failure(egress, other.url("/a")), BlockedUrl)
        assert isinstance(failure(egress, f"http://localhost:{origin.port}/a"), BlockedUrl)


@pytest.mark.parametrize("host", ["localhost", "origin", "BÜCHER.example."])
def test_an_allowed_pair_may_have_any_name_in_any_spelling(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    names(monkeypatch, ("127.0.0.1",))
    with Origin() as origin:
        origin.add("/a", b"x")
        with closing(Egress([f"{host}:{origin.port}"])) as egress:
            for spelling in (host, host.lower(), host.upper()):
                assert get(egress, f"http://{spelling}:{origin.port}/a") == b"x"


def test_many_images_of_one_host_cost_one_lookup_and_what_was_judged_is_dialled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = names(monkeypatch, ("127.0.0.1",), ("10.0.0.1",))
    with Origin(host="shop.example") as origin, closing(Egress([origin.place], max_idle=0)) as egress:
        url = origin.add("/a", b"x")
        for _ in range(10):
            get(egress, url)
        assert (origin.connections, asked) == (10, ["shop.example"])


def test_a_name_without_address_is_a_dns_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(host: str) -> tuple[Address, ...]:
        raise OSError(host)

    monkeypatch.setattr(resolver, "look_up", nothing)
    error = failure(Egress(), "http://shop.example/a")
    assert isinstance(error, DnsFailure)
    assert error.detail == "The name shop.example has no address."


def test_a_dead_first_address_leaves_time_for_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, ("127.0.0.2", "127.0.0.1"))
    with Origin(host="shop.example") as origin, closing(Egress([origin.place])) as egress:
        assert get(egress, origin.add("/a", b"x")) == b"x"


def test_proxies_from_the_environment_are_ignored(
    origin: Origin, egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert get(egress, origin.add("/a", b"x")) == b"x"
