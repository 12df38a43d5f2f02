"""Where a user's URL may not lead, and that nothing is dialled but what was checked."""

import asyncio
import errno
import select
import socket
import struct
import threading
from contextlib import closing
from ipaddress import ip_address

import pytest

from shared.addresses import Address
from shared.egress import Egress, connection, resolver
from shared.egress.connection import Connection
from shared.egress.resolver import KEEP_SECONDS
from shared.egress.response import Response
from shared.errors import BlockedUrl, ConnectFailure, DnsFailure
from shared.urls import MAX_LENGTH, REFUSED, Target, refusal
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


def dials(monkeypatch: pytest.MonkeyPatch) -> list[Address]:
    """Every connection is refused; returns the addresses that were dialled."""
    dialled: list[Address] = []

    async def refuse(_: object, address: Address, __: object) -> None:
        dialled.append(address)
        raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")

    monkeypatch.setattr(connection, "_connect", refuse)
    return dialled


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://example.com/a", "http://user:secret@example.com/", "http://", "http://a\x00b/"),
        *("http://127.0.0.1:PORT/", "http://2130706433:PORT/", "http://[::1]:PORT/", "http://[::ffff:127.0.0.1]:PORT/"),
        *("http://localhost:PORT/", "http://localhost.:PORT/", "http://printer.local/", "http://intranet/"),
        *("http://169.254.169.254/", "http://shop.example:25/", "http://shop.example:8080/", "https://1.1.1.1:8443/"),
        *("http://1.1/", "http://0x08.8.8.8/", "http://017700000001/", "http://8.8.8.8./", "http://８.8.8.8/"),  # noqa: RUF001
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
    assert failure(Egress(), url).detail == REFUSED
    assert asked == [looked_up]


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("1.1.1.1", "127.0.0.1")])
def test_a_name_with_an_address_inside_is_blocked(
    origin: Origin, monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    names(monkeypatch, addresses)
    error = failure(Egress(), "http://shop.example/a")
    assert (error.code, error.detail) == ("dns_failure", REFUSED)
    assert origin.connections == 0


def test_of_many_addresses_all_are_judged_and_sixteen_dialled(monkeypatch: pytest.MonkeyPatch) -> None:
    dialled = dials(monkeypatch)
    many = tuple(f"1.1.{number // 256}.{number % 256}" for number in range(2000))
    names(monkeypatch, many)
    assert isinstance(failure(Egress(), "http://shop.example/a"), ConnectFailure)
    assert [str(address) for address in dialled] == [*many[:16], *many[:16]]  # a connect failure is tried once more
    names(monkeypatch, (*many, "10.0.0.1"))
    assert isinstance(failure(Egress(), "http://shop.example/a"), DnsFailure)
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
    assert error.detail == REFUSED


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


def test_a_name_that_does_not_exist_and_one_that_only_our_network_knows_are_answered_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def look_up(host: str) -> tuple[Address, ...]:
        if host.startswith("nothing"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return (ip_address("10.0.0.1"),)

    monkeypatch.setattr(resolver, "look_up", look_up)
    egress = Egress()
    known, unknown = (failure(egress, f"http://{name}.corp.example/a") for name in ("payroll", "nothing"))
    assert (known.code, known.detail, known.transient) == (unknown.code, unknown.detail, unknown.transient)
    assert (known.code, known.detail) == ("dns_failure", REFUSED)
    kept = {host: lookup.until - lookup.began for host, lookup in egress._resolver._known.items()}
    assert all(seconds < KEEP_SECONDS / 2 for seconds in kept.values()), "a second question must not tell either"


def test_an_allowed_name_that_leads_to_the_metadata_service_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    dialled = dials(monkeypatch)
    names(monkeypatch, ("169.254.169.254",))
    assert failure(Egress(["origin:80"]), "http://origin/latest/meta-data").detail == REFUSED
    assert dialled == []


def test_an_answer_from_another_address_than_the_one_dialled_is_refused(
    origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the system had led the connection elsewhere."""
    monkeypatch.setattr(connection, "ip_address", lambda _: ip_address("10.0.0.1"))
    url = origin.add("/a", b"x")
    assert failure(Egress([origin.place]), url).detail == REFUSED
    assert origin.hits("/a") == 0


def test_a_host_that_resets_what_it_accepts_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the loop saw the connection only after its reset: nobody can say any more who had answered."""

    def seen_late(self: Connection, transport: asyncio.BaseTransport) -> None:
        reset = select.poll()
        reset.register(transport.get_extra_info("socket").fileno(), select.POLLHUP)
        assert reset.poll(10_000)
        made(self, transport)

    made = Connection.connection_made
    monkeypatch.setattr(Connection, "connection_made", seen_late)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept() -> None:
            for _ in range(2):  # a new connection is tried twice
                accepted, _ = listening.accept()
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                accepted.close()

        threading.Thread(target=accept, daemon=True).start()
        place = f"127.0.0.1:{listening.getsockname()[1]}"
        with closing(Egress([place])) as egress:
            assert isinstance(failure(egress, f"http://{place}/"), ConnectFailure)


def test_no_redirect_leads_from_https_to_http() -> None:
    answer = Response(302, {"location": "http://shop.example/a"})
    assert answer.redirect(Target.parse("http://shop.example/")) == Target.parse("http://shop.example/a")
    with pytest.raises(BlockedUrl, match="never from https to http"):
        answer.redirect(Target.parse("https://shop.example/"))


def test_a_redirect_is_no_longer_than_a_url_may_be(origin: Origin, egress: Egress) -> None:
    room = MAX_LENGTH - len(origin.url("/"))
    longest = "/" + "x" * room
    origin.add(longest, b"x")
    assert get(egress, origin.on("/a", redirect(longest))) == b"x"
    assert isinstance(failure(egress, origin.on("/b", redirect(longest + "x"))), BlockedUrl)
    assert origin.hits(longest + "x") == 0


def test_a_webhook_to_our_own_api_is_refused(origin: Origin) -> None:
    with Origin() as other, closing(Egress([origin.place, other.place], public_url=origin.url(""))) as egress:
        sent = {"body": b"{}", "headers": dict, "deadline_seconds": 5, "max_response_bytes": 9}
        with pytest.raises(BlockedUrl):
            egress.post(origin.url("/v1/requests"), **sent)  # type: ignore[arg-type]
        assert origin.connections == 0
        assert egress.post(other.url("/hook"), **sent).status_code == 404  # type: ignore[arg-type]


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
