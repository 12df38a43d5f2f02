"""Which URLs are well formed, and which addresses they spell out."""

import pytest

from shared.urls import host_port, literal_address, refusal

GOOD = [
    "http://a.example/",
    "https://a.example",
    "HTTPS://A.Example/x.jpg",
    "https://a.example:8443/a,b;c=d?e=f&g=h#part",
    "https://a_b.example/%20x.jpg",
    "https://bücher.example/größe.jpg",
    "https://a.example./x",
    "http://127.0.0.1:9000/x.jpg",
    "http://[2001:db8::1]:80/x.jpg",
    "https://a.example/{1}|^`",
    "http://localhost/x",
    "https://a.example?x",
]

BAD = [
    "",
    "a.example/x.jpg",
    "//a.example/x.jpg",
    "ftp://a.example/x.jpg",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "data:image/png;base64,AAAA",
    "http:/a.example/x.jpg",
    "http:a.example",
    "http://",
    "http:///x.jpg",
    "http://:80/x.jpg",
    "https://user@a.example/x.jpg",
    "https://user:secret@a.example/x.jpg",
    "https://@a.example/x.jpg",
    "https://a.example:0/x.jpg",
    "https://a.example:65536/x.jpg",
    "https://a.example:port/x.jpg",
    "https://a.example:-1/x.jpg",
    "https://a..example/x.jpg",
    "https://.example/x.jpg",
    "https://" + "a" * 64 + ".example/x.jpg",
    "https://" + "a." * 130 + "example/x.jpg",
    "https://a%2eexample/x.jpg",
    "https://a,b.example/x.jpg",
    "https://[::1/x.jpg",
    "https://[fe80::1%25eth0]/x.jpg",
    "https://[nonsense]/x.jpg",
    "https://a.example/x y.jpg",
    "https://a.example/x\ty.jpg",
    "https://a.example/x\ny.jpg",
    "https://a.example/x\0y.jpg",
    "https://a.example/x\x1fy.jpg",
    "https://a.example/x\x7fy.jpg",
    "https://a.example/x\x85y.jpg",
    "https://a.example/x\u2028y.jpg",
    "https://a.example\\@b.example/x.jpg",
    'https://a.example/x".jpg',
    "https://a.example/<x>.jpg",
]


@pytest.mark.parametrize("url", GOOD)
def test_well_formed(url: str) -> None:
    assert refusal(url) is None


@pytest.mark.parametrize("url", BAD)
def test_refused(url: str) -> None:
    assert refusal(url)


def test_length_is_limited() -> None:
    url = "https://a.example/" + "x" * 2030
    assert refusal(url) is None
    assert refusal(url + "x")
    assert refusal(url, max_length=100)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1/", "127.0.0.1"),
        ("http://127.1/", "127.0.0.1"),
        ("http://2130706433/", "127.0.0.1"),
        ("http://0x7f.0.0.1./", "127.0.0.1"),
        ("http://0177.0.0.1/", "127.0.0.1"),
        ("http://１２７.0.0.1/", "127.0.0.1"),  # noqa: RUF001 - what IDNA makes of it
        ("http://localhost/", "127.0.0.1"),
        ("http://a.LOCALHOST./", "127.0.0.1"),
        ("http://[::1]/", "::1"),
        ("http://a.example/", "None"),
    ],
)
def test_literal_addresses_in_any_spelling(url: str, address: str) -> None:
    assert str(literal_address(url)) == address


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
    assert host_port(url) == pair
