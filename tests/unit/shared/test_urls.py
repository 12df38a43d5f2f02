"""Which URLs are well formed, what they are read as, and which are blocked without a lookup."""

import re
import time
from contextlib import suppress
from unittest.mock import Mock
from urllib.parse import SplitResult, urlsplit

import httpx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared import urls
from shared.urls import Target, allowed_pair, are_plain, host_of, refusal

# fmt: off
WELL_FORMED = [
    "http://a.example/", "https://a.example", "HTTPS://A.Example/x.jpg", "https://a.example?x", "https://a.example:/x",
    "https://a.example:8443/a,b;c=d?e=f&g=h#part", "https://a_b.example/%20x.jpg", "https://a.example/{1}|^`",
    "https://bücher.example/größe.jpg", "https://faß.de/", "https://i❤.ws/", "https://a.example./x", "http://localhost/x",
    "http://127.0.0.1:9000/x.jpg", "http://[2001:db8::1]:80/x.jpg", "http://hooks.example:25/",
]

MALFORMED = [
    # another scheme, or none
    "", "a.example/x.jpg", "//a.example/x.jpg", "ftp://a.example/x.jpg", "file:///etc/passwd", "gopher://a.example/",
    "javascript:alert(1)", "data:image/png;base64,AAAA", "http:/a.example/x.jpg", "http:a.example", "http\u017f://a.example/",
    # no host, user info, a wrong port
    "http://", "http:///x.jpg", "http://:80/x.jpg", "https://user@a.example/x", "https://user:secret@a.example/x",
    "https://@a.example/x.jpg", "https://a.example:0/x", "https://a.example:65536/x", "https://a.example:port/x",
    "https://a.example:-1/x", "https://a.example:\uff18\uff10/x", "https://a.example:80:80/x",
    # not a name, not an address
    "https://a..example/x", "https://.example/x", "https://./x", "https://" + "a" * 64 + ".example/x",
    "https://" + "ü" * 64 + ".example/x", "https://" + "a." * 130 + "example/x", "https://a%2eexample/x",
    "https://８.8.8.8/x", "https://１２７.0.0.1/x",  # noqa: RUF001
    "https://a,b.example/x", "https://a\u2100b.example/x", "https://[::1/x", "https://[::1]x/x", "https://[127.0.0.1]/x",
    "https://[fe80::1%25eth0]/x", "https://[nonsense]/x",
    # characters that no URL has
    "https://a.example/x y", "https://a.example/x\ty", "https://a.example/x\ny", "https://a.example/x\0y",
    "https://a.example/x\x1fy", "https://a.example/x\x7fy", "https://a.example/x\x85y", "https://a.example/x\u2028y",
    "https://a.example\\@b.example/x", 'https://a.example/x".jpg', "https://a.example/<x>.jpg",
]
# fmt: on


@pytest.mark.parametrize("url", WELL_FORMED)
def test_well_formed(url: str) -> None:
    assert refusal(url) is None


@pytest.mark.parametrize("url", MALFORMED)
def test_malformed(url: str) -> None:
    reason = refusal(url)
    assert reason is not None
    assert reason.startswith("The URL")
    assert reason.endswith(".")


def test_length_is_limited() -> None:
    url = "https://a.example/" + "x" * 2030
    assert refusal(url) is None
    assert refusal(url + "x")
    assert refusal(url, max_length=100)


def test_a_host_that_is_much_too_long_is_refused_without_encoding_it() -> None:
    """To the square of its length, these would take a minute."""
    url = f"http://{''.join(map(chr, range(0x4E00, 0x4E00 + 1000)))}/"
    begun = time.process_time()
    assert all(refusal(url) for _ in range(300))
    assert time.process_time() - begun < 10


HOST_PIECES = st.lists(
    st.sampled_from(["a.example", "[::1]", "127.0.0.1", "0x7f.1", "faß.de", ":80", ":1", "#", "//", "\\", "%40", "%2e"])
    | st.text(st.sampled_from("aZ.:/?#@[]%\\\t．。／＠：０℀ﬀ\u00ad\u200d\u0130\u212a") | st.characters(), max_size=4),  # noqa: RUF001
    max_size=5,
).map("".join)


@given(st.sampled_from(["http://", "HTTPS://", "http:", "//"]), HOST_PIECES)
def test_no_other_reader_finds_another_host_in_an_accepted_url(scheme: str, rest: str) -> None:
    try:
        target = Target.parse(scheme + rest)
    except urls.InvalidUrl:
        return
    for read in (httpx.URL, urlsplit):
        with suppress(httpx.InvalidURL):  # it knows fewer characters in names
            assert _where(read(target.url)) == target.host_port
            assert _where(read(scheme + rest)) == target.host_port


def _where(read: httpx.URL | SplitResult) -> str:
    host = read.raw_host.decode() if isinstance(read, httpx.URL) else read.hostname
    port = read.port or urls.DEFAULT_PORTS[read.scheme]
    return Target.parse(f"http://{f'[{host}]' if ':' in (host or '') else host}:{port}").host_port


def _with_a_change(url: str, place: int, character: str) -> str:
    return url[:place] + character + url[place + 1 :]


PLAIN = st.builds(
    "{}{}".format,
    st.from_regex(
        re.compile(urls._PLAIN_ORIGIN.pattern.replace("(?=.{1,253}$)", ""), urls._PLAIN_ORIGIN.flags), fullmatch=True
    ),
    st.text(st.sampled_from(urls._PLAIN_PATH.decode()), max_size=9).map("/".__add__),
)
HOSTILE = st.builds("{}{}".format, st.sampled_from(["http://", "https://", "HTTPS://", "ftp://", ""]), HOST_PIECES)


@given(PLAIN)
def test_what_the_fast_path_accepts_the_parser_accepts_too(url: str) -> None:
    assume(are_plain([url]))
    assert Target.parse(url).host in url.lower()


@given(st.lists(PLAIN | HOSTILE | st.builds(_with_a_change, PLAIN, st.integers(0, 30), st.characters()), max_size=4))
def test_the_fast_path_judges_many_urls_as_the_parser_judges_each(several: list[str]) -> None:
    if are_plain(several):
        assert [refusal(url) for url in several] == [None] * len(several)
        assert all(Target.parse(url) for url in several)
    else:
        assert not all(are_plain([url]) for url in several)


@pytest.mark.parametrize("url", ["https://a.example@", "https://a.b@c.example/x", "https://a.example/ü", *MALFORMED])
def test_one_that_is_not_plain_spoils_the_others(url: str) -> None:
    assert not are_plain(["https://a.example/x.jpg", url])


def test_nearly_every_url_of_a_catalogue_is_plain() -> None:
    assert are_plain([f"https://cdn-{n}.shop.example/{n}/Front%20View_(1).jpg?w=800&h=600" for n in range(9)])


@pytest.mark.parametrize("origin", ["http://127.0.0.1:9000", "https://a.example:8443", "http://minio"])
def test_an_origin_of_any_form_is_judged_once(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parse = Mock(wraps=Target.parse)
    monkeypatch.setattr(Target, "parse", parse)
    urls._is_origin.cache_clear()

    for number in range(9):
        assert refusal(f"{origin}/{number}.jpg?w=8") is None

    assert parse.call_count <= 1, "a manifest of a million images has one host or a few"


@given(st.from_regex(r"\A(http|HTTPS)://.{0,9}[.:/?#@\[%]?.{0,9}\Z"))
def test_any_text_is_refused_or_normalised_for_good(url: str) -> None:
    try:
        target = Target.parse(url)
    except urls.InvalidUrl:
        return
    assert target.url.isascii()
    assert Target.parse(target.url) == target


@pytest.mark.parametrize(
    ("url", "normalised"),
    [
        ("HTTP://A.Example", "http://a.example/"),
        ("https://a.example.:443/x#part", "https://a.example/x"),
        ("https://a.example:/x?", "https://a.example/x?"),
        ("http://a.example:443?x=1", "http://a.example:443/?x=1"),
        ("http://a.example/grün/%7e 1?ü={}".replace(" ", ""), "http://a.example/gr%C3%BCn/%7e1?%C3%BC={}"),
        ("http://a.example/a/./b/../c//d/..", "http://a.example/a/c//"),
        ("http://a.example/../../x", "http://a.example/x"),
        ("http://a.example/a/.", "http://a.example/a/"),
        ("http://BÜCHER。example/", "http://xn--bcher-kva.example/"),
        ("http://faß.de/", "http://xn--fa-hia.de/"),
        ("http://i❤.ws/", "http://xn--i-7iq.ws/"),
        ("http://0X7F.0.0.1./", "http://0x7f.0.0.1./"),
        ("http://[2001:DB8:0::1]:8080/", "http://[2001:db8::1]:8080/"),
    ],
)
def test_a_target_is_normalised(url: str, normalised: str) -> None:
    assert Target.parse(url).url == normalised
    assert Target.parse(normalised) == Target.parse(url)


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("/x", "http://a.example:8080/x"),
        ("x?y", "http://a.example:8080/dir/x?y"),
        ("../x y\t", "http://a.example:8080/x%20y%09"),
        ("//b.example/", "http://b.example/"),
        ("https://ü.example/ü", "https://xn--tda.example/%C3%BC"),
    ],
)
def test_a_reference_is_joined(reference: str, url: str) -> None:
    assert Target.parse("http://a.example:8080/dir/file?q").join(reference).url == url


@pytest.mark.parametrize(
    "reference", ["ftp://b.example/", "http://[::1", "http://u@b.example/", "http://b\\@c.example"]
)
def test_a_reference_to_a_malformed_url_is_refused(reference: str) -> None:
    with pytest.raises(urls.InvalidUrl):
        Target.parse("http://a.example/").join(reference)


BLOCKED = [
    *("127.0.0.1", "127.1", "2130706433", "0x7f.0.0.1.", "0177.0.0.1", "127.0.0.1.", "0.0.0.0"),
    *("1.1", "0x08.8.8.8", "134744072", "8.8.8.8.", "08.8.8.8", "0x8080808", "[2a00::5efe:808:808]"),
    *("10.0.0.1", "169.254.169.254", "100.100.100.200", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[64:ff9b::a9fe:a9fe]"),
    *("[2002:7f00:1::]", "localhost", "localhost.", "LOCALHOST", "a.localhost", "a.LOCALHOST.", "printer.local"),
    *("metadata.google.internal", "router.home.arpa", "home.arpa", "intranet", "origin.", "1.2.3.4.5", "1.2.3.300"),
    *("shop.example:25", "1.1.1.1:25", "[2606:4700:4700::1111]:22", "shop.example:8080", "1.1.1.1:8443"),
]


@pytest.mark.parametrize("place", BLOCKED)
def test_a_target_is_blocked_by_its_port_address_or_name_unless_it_is_allowed(place: str) -> None:
    target = Target.parse(f"http://{place}/hook")
    reason = target.blocked()
    assert reason == urls.REFUSED
    is_never_allowed = "169.254" in place or "a9fe" in place or place == "100.100.100.200"
    assert target.blocked((target.host_port,)) == (urls.REFUSED if is_never_allowed else None)


@pytest.mark.parametrize(
    "place", ["shop.example", "1.1.1.1:80", "[2606:4700:4700::1111]", "mylocalhost.example", "local.example", "a.b1"]
)
def test_a_target_is_not_blocked_where_only_a_lookup_could_tell(place: str) -> None:
    assert Target.parse(f"https://{place}/").blocked() is None


@pytest.mark.parametrize(
    ("url", "pair"),
    [
        ("http://a.example/x", "a.example:80"),
        ("https://A.example/x", "a.example:443"),
        ("https://[::1]:8443/x", "[::1]:8443"),
        ("http://127.0.0.1:9000", "127.0.0.1:9000"),
    ],
)
def test_host_and_port(url: str, pair: str) -> None:
    assert Target.parse(url).host_port == pair
    assert allowed_pair(pair) == pair


@pytest.mark.parametrize(
    ("url", "is_own"),
    [
        ("https://halftone.example/v1/requests", True),
        ("http://HALFTONE.example./", True),
        ("http://halftone.example:9000/hook", False),
        ("https://shop.example/hook", False),
    ],
)
def test_our_own_api_is_known_by_its_public_name(url: str, *, is_own: bool) -> None:
    assert Target.parse(url).is_own("https://halftone.example/api", ("halftone.example:9000",)) is is_own


@pytest.mark.parametrize(
    "url",
    [
        "http://a/",
        "https://Shop.Example./x/y?z",
        "http://shop.example?at=/x",
        "https://[::1]:8443/a",
        "http://shop.example",
    ],
)
def test_the_host_of_a_url_is_that_of_its_target(url: str) -> None:
    assert host_of(url) == Target.parse(url).host_port


def test_what_is_no_url_has_no_host() -> None:
    assert {host_of("ftp://shop.example/x"), host_of("https:///x"), host_of("")} == {""}
