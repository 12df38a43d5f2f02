from ipaddress import ip_address

import pytest

from shared.addresses import embedded_ipv4, is_link_local, is_public

PUBLIC = [
    *("1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.0.1.1"),
    *("198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700:4700::1111", "2a00:1450:4001:81b::200e"),
]

INSIDE = {
    "this network": ["0.0.0.0", "0.1.2.3"],
    "loopback": ["127.0.0.1", "127.255.255.255", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd00:ec2::254"],
    "carrier grade NAT": ["100.64.0.0", "100.100.100.200", "100.127.255.255"],
    "link-local": ["169.254.169.254", "fe80::1", "febf::1", "fe80::1%eth0"],
    "site-local": ["fec0::1"],
    "protocol assignments": ["192.0.0.1", "192.0.0.192", "2001:1::1", "2001:1ff::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "the 6bone": ["3ffe::1"],
    "benchmarking": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "6to4 relays": ["192.88.99.1"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1"],
    "reserved and broadcast": ["240.0.0.1", "255.255.255.254", "255.255.255.255"],
    "unspecified": ["::"],
    "discard": ["100::1", "100:0:0:1::1"],
    "ORCHID": ["2001:10::1", "2001:2f::1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::7f00:1"],
    "ISATAP": ["2a00:1450::5efe:808:808", "2a00:1450::200:5efe:a9fe:a9fe"],
    "6to4": ["2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1"],
    "Teredo": ["2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "IPv4 in IPv6": ["::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "::8.8.8.8", "::ffff:0:169.254.169.254"],
    "never handed out": ["4000::1", "5f00::1", "fe00::1", "1::1"],
    "a cloud's host": ["168.63.129.16"],
}


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_let_through(text: str) -> None:
    assert is_public(ip_address(text))


@pytest.mark.parametrize("text", [text for texts in INSIDE.values() for text in texts])
def test_addresses_that_could_lead_inside_are_refused(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize(
    ("text", "within"),
    [
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("::8.8.8.8", "8.8.8.8"),
        ("::ffff:0:8.8.8.8", "8.8.8.8"),
        ("64:ff9b::8.8.8.8", "8.8.8.8"),
        ("64:ff9b:1::a9fe:a9fe", "169.254.169.254"),
        ("2002:808:808::1", "8.8.8.8"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"),
        ("2a00:1450::5efe:808:808", "8.8.8.8"),
        ("2a00:1450::200:5efe:10.0.0.1", "10.0.0.1"),
    ],
)
def test_an_ipv4_address_within_is_found_and_refused_even_if_it_is_public(text: str, within: str) -> None:
    assert embedded_ipv4(ip_address(text)) == ip_address(within)
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", ["2606:4700:4700::1111", "2a00:1450:0:5efe::1", "8.8.8.8"])
def test_an_ordinary_address_has_none_within(text: str) -> None:
    assert embedded_ipv4(ip_address(text)) is None


@pytest.mark.parametrize(
    "text",
    [
        *("169.254.169.254", "169.254.0.1", "fe80::1", "100.100.100.200", "168.63.129.16", "fd00:ec2::254"),
        *("::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "2a00::5efe:a9fe:a9fe"),
    ],
)
def test_a_clouds_metadata_service_is_known_in_every_form(text: str) -> None:
    assert is_link_local(ip_address(text))


@pytest.mark.parametrize("text", ["127.0.0.1", "10.0.0.1", "::1", "fd00::1", "8.8.8.8"])
def test_what_an_operator_may_allow_is_not_taken_for_one(text: str) -> None:
    assert not is_link_local(ip_address(text))
