"""Names whose servers never answer delay themselves alone: a lookup cannot be interrupted, and all share a process."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address

import pytest

from shared.addresses import Address
from shared.egress import Egress, resolve
from shared.egress.resolve import LOOKUPS_AT_ONCE, domain_of
from shared.errors import DnsFailure, FetchTimeout, ImageError
from tests.origin import Origin
from tests.stack import until
from tests.unit.shared.egress_case import at_most, failure, get

INNOCENT = "shop.innocent.example"


class SlowNames:
    """Answers for the innocent name at once, for all others when `answer` is set."""

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.asked: list[str] = []

    def look_up(self, host: str) -> tuple[Address, ...]:
        self.asked.append(host)
        if host != INNOCENT:
            self.answer.wait(30)
        return (ip_address("127.0.0.1"),)

    def hang(self, egress: Egress, *, names: int, domains: int) -> list[ImageError]:
        """Images from so many names, all at once, each with a moment's patience; what they failed with."""
        urls = [f"http://a{number}.tarpit{number % domains}.example/" for number in range(names)]
        with ThreadPoolExecutor(names) as callers:
            return list(callers.map(lambda url: failure(egress, url, seconds=0.5), urls))


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowNames]:
    slow = SlowNames()
    monkeypatch.setattr(resolve, "look_up", slow.look_up)
    yield slow
    slow.answer.set()


@pytest.fixture
def shop() -> Iterator[Origin]:
    with Origin(host=INNOCENT) as shop:
        yield shop


@pytest.fixture
def egress(shop: Origin) -> Iterator[Egress]:
    egress = Egress([shop.place])
    yield egress
    egress.close()


@pytest.mark.parametrize("domains", [1, 10])
def test_an_innocent_name_resolves_while_a_hundred_others_hang(
    shop: Origin, egress: Egress, slow: SlowNames, domains: int
) -> None:
    slow.hang(egress, names=100, domains=domains)
    with at_most(1):
        assert get(egress, shop.add("/a", b"x")).body == b"x"


def test_a_domain_has_room_for_a_few_lookups_and_the_rest_is_told_to_come_again(
    egress: Egress, slow: SlowNames
) -> None:
    """`timeout` moves a first fetch to the slow queue and uses up no attempt; `dns_failure` would."""
    codes = sorted(error.code for error in slow.hang(egress, names=20, domains=1))
    assert codes == ["dns_failure"] * 16 + ["timeout"] * 4
    assert len(slow.asked) == 16


def test_where_all_room_is_taken_a_name_waits_for_its_turn(shop: Origin, egress: Egress, slow: SlowNames) -> None:
    with ThreadPoolExecutor(1) as caller:
        slow.hang(egress, names=LOOKUPS_AT_ONCE, domains=LOOKUPS_AT_ONCE)
        assert isinstance(failure(egress, shop.url("/a"), seconds=0.2), FetchTimeout)
        assert INNOCENT not in slow.asked
        waiting = caller.submit(get, egress, shop.add("/a", b"x"))
        time.sleep(0.1)
        slow.answer.set()
        assert waiting.result(5).body == b"x"


def test_a_thousand_images_of_a_hanging_name_wait_together_and_not_one_after_the_other(
    egress: Egress, slow: SlowNames
) -> None:
    with at_most(1.5):
        for _ in range(1000):
            with pytest.raises(DnsFailure):
                egress.fetch("http://tarpit.example/", deadline_seconds=5, connect_seconds=0.3, max_bytes=9)
    assert slow.asked == ["tarpit.example"]


def test_a_name_that_answered_late_is_known_from_then_on(slow: SlowNames) -> None:
    with Origin(host="late.example") as late:
        egress = Egress([late.place])
        assert isinstance(failure(egress, late.url("/a"), seconds=0.2), DnsFailure)
        slow.answer.set()
        late.add("/a", b"x")
        assert until(lambda: _body(egress, late.url("/a"))) == b"x"
        egress.close()
    assert slow.asked == ["late.example"]


def _body(egress: Egress, url: str) -> bytes | bytearray | None:
    try:
        return get(egress, url, seconds=0.2).body
    except DnsFailure:
        return None


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("cdn.images.shop.example", "shop.example"),
        ("shop.example.", "shop.example"),
        ("a.b.shop.co.uk", "shop.co.uk"),
        ("shop.co.uk", "shop.co.uk"),
        ("localhost", "localhost"),
        ("ab.io", "ab.io"),
    ],
)
def test_a_domain_is_what_somebody_registered(host: str, domain: str) -> None:
    assert domain_of(host) == domain
