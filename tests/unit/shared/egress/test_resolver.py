"""Names whose servers never answer delay only themselves: a lookup cannot be interrupted, and all share a process."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from ipaddress import ip_address

import pytest

from shared.addresses import Address
from shared.egress import Egress, resolver
from shared.egress.connection import Deadline
from shared.egress.loop import running_loop
from shared.egress.resolver import LOOKUPS_AT_ONCE, LOOKUPS_PER_DOMAIN, Resolver, domain_of
from shared.errors import DnsFailure, FetchTimeout, ImageError
from tests.origin import Origin
from tests.stack import until
from tests.unit.shared.egress.conftest import at_most, get

INNOCENT = "shop.innocent.example"
LOOPBACK = (ip_address("127.0.0.1"),)


class SlowNames:
    """Answers for the innocent name at once, for all others when `answer` is set."""

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.asked: list[str] = []

    def look_up(self, host: str) -> tuple[Address, ...]:
        self.asked.append(host)
        if host != INNOCENT:
            self.answer.wait(30)
        return LOOPBACK


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowNames]:
    slow = SlowNames()
    monkeypatch.setattr(resolver, "look_up", slow.look_up)
    yield slow
    slow.answer.set()


def ask(resolver: Resolver, host: str, *, seconds: float, total: float) -> tuple[Address, ...]:
    asked = resolver.addresses(host, seconds=seconds, total=Deadline(total))
    return asyncio.run_coroutine_threadsafe(asked, running_loop()).result().addresses


def hang(resolver: Resolver, *, names: int, domains: int) -> list[str]:
    """Ask for so many names that hang, without waiting for an answer; the error codes."""
    codes = []
    for number in range(names):
        with pytest.raises(ImageError) as caught:
            ask(resolver, f"a{number}.tarpit{number % domains}.example", seconds=0, total=0.05)
        codes.append(caught.value.code)
    return codes


def innocent(resolver: Resolver, *, seconds: float = 5) -> tuple[Address, ...]:
    return ask(resolver, INNOCENT, seconds=seconds, total=seconds)


@pytest.mark.parametrize("domains", [1, 10])
def test_an_innocent_name_resolves_while_a_hundred_others_hang(slow: SlowNames, domains: int) -> None:
    resolver = Resolver()
    hang(resolver, names=100, domains=domains)
    assert innocent(resolver) == LOOPBACK


def test_a_domain_may_have_a_few_lookups_running_and_further_names_time_out(slow: SlowNames) -> None:
    """`timeout` moves a first fetch to the slow queue and uses up no attempt; `dns_failure` would."""
    codes = hang(Resolver(), names=LOOKUPS_PER_DOMAIN + 4, domains=1)
    assert codes == ["dns_failure"] * LOOKUPS_PER_DOMAIN + ["timeout"] * 4
    assert until(lambda: len(slow.asked) == LOOKUPS_PER_DOMAIN)


def test_a_lookup_that_outlasts_the_fetch_is_a_timeout_and_not_the_names_failure(slow: SlowNames) -> None:
    with pytest.raises(FetchTimeout):
        ask(Resolver(), "late.example", seconds=5, total=0.05)


def test_a_name_waits_for_room_while_as_many_as_allowed_hang(slow: SlowNames) -> None:
    resolver = Resolver()
    codes = hang(resolver, names=LOOKUPS_AT_ONCE, domains=LOOKUPS_AT_ONCE)
    assert codes == ["dns_failure"] * LOOKUPS_AT_ONCE
    with pytest.raises(FetchTimeout):
        innocent(resolver, seconds=0.1)
    assert INNOCENT not in slow.asked
    with ThreadPoolExecutor(1) as caller:
        waiting = caller.submit(innocent, resolver, seconds=30)
        assert wait([waiting], timeout=0.1).not_done
        slow.answer.set()
        assert waiting.result(30) == LOOPBACK


def test_a_thousand_images_of_a_hanging_name_wait_together_and_not_one_after_the_other(slow: SlowNames) -> None:
    egress = Egress(connect_seconds=0.3)
    with at_most(30):
        for _ in range(1000):
            with pytest.raises(DnsFailure):
                get(egress, "http://tarpit.example/")
    assert slow.asked == ["tarpit.example"]


def test_a_name_that_answered_late_is_known_from_then_on(slow: SlowNames) -> None:
    with Origin(host="late.example") as late, closing(Egress([late.place])) as egress:
        url = late.add("/a", b"x")
        assert _body(egress, url) is None
        slow.answer.set()
        assert until(lambda: _body(egress, url, seconds=20)) == b"x"
    assert slow.asked == ["late.example"]


def _body(egress: Egress, url: str, *, seconds: float = 0.2) -> bytearray | None:
    try:
        return get(egress, url, seconds=seconds)
    except (DnsFailure, FetchTimeout):
        return None


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("cdn.images.shop.example", "shop.example"),
        ("a.b.shop.co.uk", "shop.co.uk"),
        ("shop.co.uk", "shop.co.uk"),
        ("localhost", "localhost"),
        ("ab.io", "ab.io"),
    ],
)
def test_the_registered_domain_is_guessed_from_the_name(host: str, domain: str) -> None:
    assert domain_of(host) == domain
