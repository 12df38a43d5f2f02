"""Which IP addresses a user's URL may lead to: public unicast addresses only.

Python's `is_global` is not enough: it passes addresses that embed another one (NAT64, 6to4, translated) and differs
between releases. An address that embeds an IPv4 address is always refused, even if the embedded one is public.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_network

Address = IPv4Address | IPv6Address

# RFC 4291: the only part of IPv6 that IANA has allocated. Outside are loopback, local and mapped addresses and NAT64.
GLOBAL_UNICAST = ip_network("2000::/3")
# Within IPv4 and GLOBAL_UNICAST, each range with the document that reserves it.
REFUSED = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8",  # RFC 791: this network
        "10.0.0.0/8",  # RFC 1918: private
        "100.64.0.0/10",  # RFC 6598: shared by carriers (and used inside clouds)
        "127.0.0.0/8",  # RFC 1122: loopback
        "168.63.129.16/32",  # Azure: the virtual machine's own host
        "169.254.0.0/16",  # RFC 3927: link-local (and the clouds' metadata services)
        "172.16.0.0/12",  # RFC 1918: private
        "192.0.0.0/24",  # RFC 6890: IETF protocol assignments
        "192.0.2.0/24",  # RFC 5737: documentation
        "192.31.196.0/24",  # RFC 7535: AS112
        "192.52.193.0/24",  # RFC 7450: AMT
        "192.88.99.0/24",  # RFC 7526: 6to4 relay anycast
        "192.168.0.0/16",  # RFC 1918: private
        "192.175.48.0/24",  # RFC 7534: AS112
        "198.18.0.0/15",  # RFC 2544: benchmarking
        "198.51.100.0/24",  # RFC 5737: documentation
        "203.0.113.0/24",  # RFC 5737: documentation
        "224.0.0.0/4",  # RFC 5771: multicast
        "240.0.0.0/4",  # RFC 1112: reserved (and RFC 919: limited broadcast)
        "2001::/23",  # RFC 2928: IETF protocol assignments (Teredo, ORCHID and benchmarking too)
        "2001:db8::/32",  # RFC 3849: documentation
        "2002::/16",  # RFC 3056: 6to4
        "2620:4f:8000::/48",  # RFC 7534: AS112
        "3ffe::/16",  # RFC 3701: the 6bone, given back
        "3fff::/20",  # RFC 9637: documentation
    )
)
# What a machine or its cloud tells only itself. Never dialled, even where `HALFTONE_FETCH_ALLOW` names it.
LINK_LOCAL = tuple(
    ip_network(text)
    for text in (
        "169.254.0.0/16",  # RFC 3927, with the metadata services of nearly every cloud
        "fe80::/10",  # RFC 4291
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle
        "fd00:ec2::/32",  # Amazon
        "fd20:ce::/64",  # Google
        "fd00:42::/64",  # Scaleway
    )
)
# Where the last 32 bits are an IPv4 address.
_IPV4_LAST = tuple(
    ip_network(text)
    for text in (
        "::/96",  # RFC 4291: IPv4-compatible
        "::ffff:0:0/96",  # RFC 4291: IPv4-mapped
        "::ffff:0:0:0/96",  # RFC 2765: IPv4-translated
        "64:ff9b::/96",  # RFC 6052: NAT64
        "64:ff9b:1::/48",  # RFC 8215: NAT64 of a local network
    )
)
_ISATAP = (0x00005EFE, 0x02005EFE)  # RFC 5214: the first half of the interface identifier, under any prefix


@lru_cache(maxsize=4096)
def is_public(address: Address) -> bool:
    """Whether a user's URL may lead there."""
    if isinstance(address, IPv6Address) and (address.scope_id or address not in GLOBAL_UNICAST):
        return False
    return embedded_ipv4(address) is None and not any(address in network for network in REFUSED)


def is_link_local(address: Address) -> bool:
    """Whether it must not be dialled even if it is allowed: link-local, or a cloud's metadata service, in any form."""
    forms = (address, embedded_ipv4(address))
    return any(form in network for form in forms if form for network in LINK_LOCAL)


def embedded_ipv4(address: Address) -> IPv4Address | None:
    """The IPv4 address to which a gateway may translate this one; None if there is none.

    A network that has chosen a NAT64 prefix of its own (RFC 6052) cannot be told by it: its gateway must refuse.
    """
    if isinstance(address, IPv4Address):
        return None
    bits = int(address)
    if any(address in network for network in _IPV4_LAST) or (bits >> 32) & 0xFFFFFFFF in _ISATAP:
        return IPv4Address(bits & 0xFFFFFFFF)
    return address.sixtofour or (address.teredo[1] if address.teredo else None)
