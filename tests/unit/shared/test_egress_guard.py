"""Where a user's URL may not lead, and that nothing is dialled but what was checked."""

import threading
from ipaddress import ip_address

import pytest

from shared.addresses import Address
from shared.egress import Egress, check_url, resolve
from shared.errors import BlockedUrl, DnsFailure
from tests.origin import Origin, redirect
from tests.unit.shared.egress_case import at_most, failure, get


def names(monkeypatch: pytest.MonkeyPatch, *answers: tuple[str, ...]) -> list[str]:
    """Every name resolves to the first answer, then to the second...; returns the names that were looked up."""
    asked: list[str] = []

    def look_up(host: str) -> tuple[Address, ...]:
        asked.append(host)
        return tuple(ip_address(text) for text in answers[min(len(asked), len(answers)) - 1])

    monkeypatch.setattr(resolve, "look_up", look_up)
    return asked


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/a",
        "file:///etc/passwd",
        "gopher://example.com/",
        "http://user:secret@example.com/",
        "http:///a",
        "http://",
        "http://[::1",
        "http://1.1.1.1:25/",
        "http://1.1.1.1:99999/",
        "http://a\x00b/",
    ],
)
def test_a_url_of_a_wrong_form_is_blocked(url: str) -> None:
    assert isinstance(failure(Egress(), url), BlockedUrl)


INSIDE = ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "0.0.0.0", "127.0.0.1.", "169.254.169.254"]
INSIDE += ["100.100.100.200", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]"]


@pytest.mark.parametrize("host", INSIDE)
def test_an_address_inside_is_blocked_however_it_is_spelled(origin: Origin, host: str) -> None:
    assert isinstance(failure(Egress(), f"http://{host}:{origin.port}/a"), BlockedUrl)
    assert origin.connections == 0


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/hook", "https://[::1]/", "http://2130706433/", "ftp://a/", "http://a:25/"]
)
def test_a_webhook_url_can_be_judged_by_its_form(url: str) -> None:
    with pytest.raises(BlockedUrl):
        check_url(url, allow=())


def test_a_form_is_fine_where_only_a_lookup_could_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = names(monkeypatch, ("127.0.0.1",))
    check_url("https://shop.example/hook", allow=())
    check_url("http://127.0.0.1:9000/hook", allow=["127.0.0.1:9000"])
    assert asked == []


def test_a_name_that_leads_inside_is_blocked(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, ("127.0.0.1",))
    error = failure(Egress(), f"http://shop.example:{origin.port}/a")
    assert isinstance(error, BlockedUrl)
    assert error.detail == "The address of shop.example is not public."
    assert origin.connections == 0


def test_one_address_inside_spoils_the_name(origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, ("1.1.1.1", "127.0.0.1"))
    assert isinstance(failure(Egress(), f"http://shop.example:{origin.port}/a"), BlockedUrl)


def test_a_redirect_inside_is_blocked(origin: Origin, egress: Egress) -> None:
    with Origin() as inside:
        inside.add("/secret", b"secret")
        url = origin.on("/a", redirect(inside.url("/secret")))
        assert isinstance(failure(egress, url), BlockedUrl)
        assert inside.connections == 0


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "ftp://example.com/", "http://u:p@example.com/", "http://[::1", "http://://["]
)
def test_a_redirect_to_a_url_of_a_wrong_form_is_refused(origin: Origin, egress: Egress, to: str) -> None:
    assert failure(egress, origin.on("/a", redirect(to))).code in ("blocked_url", "http_protocol")


def test_the_allowed_pair_is_the_only_exception(origin: Origin) -> None:
    with Origin() as other:
        egress = Egress([origin.place])
        assert get(egress, origin.add("/a", b"x")).body == b"x"
        assert isinstance(failure(egress, other.url("/a")), BlockedUrl)
        assert isinstance(failure(egress, f"http://localhost:{origin.port}/a"), BlockedUrl)
        egress.close()


def test_a_name_is_looked_up_once_between_the_check_and_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    with Origin(host="shop.example") as origin:
        asked = names(monkeypatch, ("127.0.0.1",), ("10.0.0.1",))
        egress = Egress([origin.place])
        assert get(egress, origin.add("/a", b"x")).body == b"x"
        egress.close()
    assert asked == ["shop.example"]


def test_many_images_of_one_host_cost_one_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    with Origin(host="shop.example") as origin:
        asked = names(monkeypatch, ("127.0.0.1",))
        egress = Egress([origin.place], max_idle=0)
        url = origin.add("/a", b"x")
        for _ in range(10):
            get(egress, url)
        assert (origin.connections, len(asked)) == (10, 1)
        egress.close()


def test_a_name_without_address_is_a_dns_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(host: str) -> tuple[Address, ...]:
        raise OSError(host)

    monkeypatch.setattr(resolve, "look_up", nothing)
    error = failure(Egress(), "http://shop.example/a")
    assert isinstance(error, DnsFailure)
    assert error.detail == "The name shop.example has no address."


def test_a_silent_name_server_is_a_dns_failure_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    def never(_: str) -> tuple[Address, ...]:
        answer.wait(10)
        return ()

    monkeypatch.setattr(resolve, "look_up", never)
    with at_most(1):
        error = failure(Egress(), "http://shop.example/a", seconds=0.3)
    answer.set()
    assert isinstance(error, DnsFailure)


def test_a_dead_first_address_leaves_time_for_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    with Origin(host="shop.example") as origin:
        names(monkeypatch, ("127.0.0.2", "127.0.0.1"))
        egress = Egress([origin.place])
        assert get(egress, origin.add("/a", b"x")).body == b"x"
        egress.close()


def test_proxies_from_the_environment_are_ignored(
    origin: Origin, egress: Egress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert get(egress, origin.add("/a", b"x")).body == b"x"
