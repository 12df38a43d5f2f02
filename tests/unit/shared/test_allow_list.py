"""What HALFTONE_FETCH_ALLOW takes."""

import pytest

from shared.urls import allowed_pair


@pytest.mark.parametrize(
    ("text", "pair"),
    [("LocalHost.:9000", "localhost:9000"), ("faß.de:80", "xn--fa-hia.de:80"), ("[0::1]:80", "[::1]:80")],
)
def test_the_allow_list_is_read_as_urls_are(text: str, pair: str) -> None:
    assert allowed_pair(text) == pair


@pytest.mark.parametrize(
    "text", ["foo", "foo:", "127.0.0.1:90000", "http://foo:80", "u@foo:80", "foo/a:80", ":80", "[::1]"]
)
def test_the_allow_list_takes_nothing_but_host_and_port(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        allowed_pair(text)


@pytest.mark.parametrize("text", ["127.1:80", "0x7f.1:80", "2130706433:80"])
def test_the_allow_list_takes_addresses_in_one_spelling(text: str) -> None:
    with pytest.raises(ValueError, match="no other numbers for hosts"):
        allowed_pair(text)


@pytest.mark.parametrize(
    "text", ["169.254.169.254:80", "[::ffff:169.254.169.254]:80", "[fd00:ec2::254]:80", "[fe80::1]:80"]
)
def test_the_allow_list_takes_no_metadata_service(text: str) -> None:
    with pytest.raises(ValueError, match="metadata services of clouds are refused"):
        allowed_pair(text)
