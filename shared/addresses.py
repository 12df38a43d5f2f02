"""Which IP addresses a user's URL may lead to: public unicast addresses only.

Python's `is_global` is not enough: it passes addresses that embed another one (NAT64, 6to4, translated) and differs
between releases. An address that embeds an IPv4 address is always refused, even if the embedded one is public.
"""

import socket
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
        "3fff::/20",  # RFC 9637: documentation
    )
)


@lru_cache(maxsize=4096)
def is_public(address: Address) -> bool:
    """Whether a user's URL may lead there."""
    if isinstance(address, IPv6Address) and (address.scope_id or address not in GLOBAL_UNICAST):
        return False
    return not any(address in network for network in REFUSED)


def parse_ipv4(text: str) -> IPv4Address | None:
    """The address in any spelling that a resolver takes (`2130706433`, `0x7f.1`); None for a name."""
    try:
        return IPv4Address(socket.inet_aton(text))
    except (OSError, ValueError):
        return None
