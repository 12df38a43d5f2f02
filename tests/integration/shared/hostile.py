"""Hostile URLs, redirects and DNS answers by the hundred, and the canaries that none of them may reach."""
# ruff: noqa: RUF001 - letters and digits that look like others are the point

import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from itertools import product
from typing import Any

INSIDE = [
    *("127.0.0.1", "127.0.0.2", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
    *("169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.2.1", "198.18.0.1", "224.0.0.1", "255.255.255.255"),
]
INSIDE_V6 = [
    *("::1", "::", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "100::1", "2001:db8::1", "3fff::1"),
    *("2001::1", "2002:7f00:1::", "3ffe::1", "5f00::1", "4000::1", "64:ff9b::7f00:1"),
]
PUBLIC = "93.184.216.34"
PORTS = [1, 21, 22, 23, 25, 110, 143, 389, 445, 2375, 3306, 5432, 6379, 8000, 8080, 8443, 9200, 11211, 27017, 65535]
LOCAL_NAMES = [
    *("localhost", "LOCALHOST.", "a.localhost", "localhost.localdomain.local", "printer.local", "intranet", "valkey"),
    *("metadata.google.internal", "db.internal.", "router.home.arpa", "ｌocalhost", "postgres.", "ⓛocalhost"),
]
MALFORMED = [
    *("ftp://HOST/", "file:///etc/passwd", "gopher://HOST/_x", "dict://HOST/", "ldap://HOST/", "jar:http://HOST/!/"),
    *(
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "ws://HOST/",
        "http:HOST",
        "http:/HOST/",
        "//HOST/",
        "http://",
    ),
    *("http://user@HOST/", "http://user:secret@HOST/", "http://@HOST/", "http://shop.example@HOST/", "http://:@HOST/"),
    *(
        "http://HOST\\@shop.example/",
        "http://shop.example\\@HOST/",
        "http://HOST:0/",
        "http://HOST:65536/",
        "http://HOST:-1/",
    ),
    *(
        "http://HOST:80:80/",
        "http://HOST%00.example/",
        "http://HOST%2eexample/",
        "http://%31%32%37.0.0.1/",
        "http://[::1",
    ),
    *(
        "http://[::1%25lo]/",
        "http://[127.0.0.1]/",
        "http://HO\tST/",
        "http://HOST\r\nX: y/",
        "http://a..b/",
        "http://.HOST/",
    ),
    *(
        "http://HOST#@shop.example:99999/",
        "http://HOST:８０/",
        "http://127。0。0。1:８０/",
        "http://[::1]x/",
        "http://a b/",
    ),
]
REDIRECTS = (301, 302, 303, 307, 308)


def spellings(address: IPv4Address) -> list[str]:
    """One IPv4 address as resolvers, browsers and attackers write it."""
    a, b, c, d = address.packed
    number = int(address)
    return [
        *(f"{address}", f"{address}.", f"{number}", f"{number:#x}", f"0{number:o}", f"{number:#X}."),
        *(f"{a}.{number & 0xFFFFFF}", f"{a}.{b}.{number & 0xFFFF}", f"{a:#x}.{b}.{c}.{d}", f"0{a:o}.{b}.{c}.{d}"),
        *(f"{a:#04x}.{b:#04x}.{c:#04x}.{d:#04x}", f"{a}.{b}.{c}.0{d:o}", f"{a:03d}.{b:03d}.{c:03d}.{d:03d}"),
        "".join(chr(ord(digit) + 0xFEE0) if digit.isdigit() else digit for digit in str(address)),
        str(address).replace(".", "。"),
        "".join(f"%{ord(character):02x}" for character in str(address)),
    ]


def embeddings(address: IPv4Address) -> list[IPv6Address]:
    """Every IPv6 form that a gateway may translate to the IPv4 address."""
    low = int(address)
    return [
        *(IPv6Address(prefix | low) for prefix in (0, 0xFFFF << 32, 0xFFFF << 48)),  # compatible, mapped, translated
        *(IPv6Address(int(IPv6Address(prefix)) | low) for prefix in ("64:ff9b::", "64:ff9b:1::", "64:ff9b:1:fffe::")),
        IPv6Address(0x2002 << 112 | low << 80 | 1),  # 6to4
        IPv6Address(0x20010000 << 96 | 0x4136E378 << 64 | 0x8000 << 48 | (low ^ 0xFFFFFFFF)),  # Teredo
        *(IPv6Address(int(IPv6Address("2a00:1450::")) | form << 32 | low) for form in (0x5EFE, 0x02005EFE)),  # ISATAP
    ]


@dataclass
class Hostile:
    """What is asked of the guard, beside canaries that listen on `port`; `urls` need no lookup, `names` need one."""

    port: int
    answers: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    def urls(self) -> list[str]:
        """Refused by their form alone."""
        found = [f"http://{host}:{self.port}/" for inside in INSIDE for host in spellings(IPv4Address(inside))]
        found += [
            f"{scheme}://[{address}]{port}/x.jpg"
            for inside in (*INSIDE, PUBLIC)
            for address in embeddings(IPv4Address(inside))
            for scheme, port in (("http", f":{self.port}"), ("https", ""))
        ]
        found += [f"http://[{text.upper()}]:{self.port}/" for text in INSIDE_V6]
        found += [f"https://{host}/" for host in spellings(IPv4Address(PUBLIC))[1:] if "。" not in host]
        found += [f"http://{host}:{self.port}/" for host in LOCAL_NAMES]
        found += [f"http://{host}:{port}/" for host, port in product(("shop.example", PUBLIC), PORTS)]
        found += [text.replace("HOST", "127.0.0.1") for text in MALFORMED]
        return list(dict.fromkeys(found))

    def names(self) -> list[str]:
        """Well formed, but no server answers with public addresses alone; some names do not exist."""
        inside = [*INSIDE, *INSIDE_V6]
        inside += [str(address) for text in (*INSIDE[:8], PUBLIC) for address in embeddings(IPv4Address(text))]
        many = [f"93.184.{number // 250}.{number % 250 + 1}" for number in range(1999)]
        for number, text in enumerate(inside):
            self._name(f"alone{number}", [text])
            self._name(f"last{number}", [PUBLIC, "2606:2800:220:1::1", text])
        for number, text in enumerate(inside[:10]):
            self._name(f"many{number}", [*many, text])
            self._name(f"scoped{number}", [f"fe80::{number + 1}%eth0"])
            self._name(f"alias{number}.corp", [text])  # the answer's canonical name is an internal one
        for number in range(20):
            self._name(f"nothing{number}", [])
        return [f"http://{host}:{self.port}/" for host in self.answers]

    def rebinding(self) -> list[str]:
        """The first answer is public, every other one leads inside."""
        hosts = [f"www.rebind{number}.example" for number in range(len(INSIDE))]
        self.answers |= {host: [[PUBLIC], [inside]] for host, inside in zip(hosts, INSIDE, strict=True)}
        return [f"http://{host}:{self.port}/" for host in hosts]

    def getaddrinfo(self, host: str, port: Any, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        """In place of `socket.getaddrinfo`."""
        answers = self.answers[host]
        answer = answers[min(self.asked[host], len(answers) - 1)]
        self.asked[host] += 1
        if not answer:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "db.corp.internal", (text, 0)) for text in answer]

    def _name(self, label: str, *answers: list[str]) -> None:
        self.answers[f"www.{label}.example"] = list(answers)


@contextmanager
def canaries(ports: Mapping[str, int]) -> Iterator["Canaries"]:
    """Listen on an address, `ports[address]`, for each; 0 is any free port."""
    with ExitStack() as stack:
        listeners = []
        for address, port in ports.items():
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            with suppress(OSError):  # no IPv6 here
                listener = stack.enter_context(socket.create_server((address, port), family=family, backlog=1000))
                listener.setblocking(False)
                listeners.append(listener)
        yield Canaries(listeners)


@dataclass
class Canaries:
    """Nobody may connect to them."""

    listeners: list[socket.socket]

    def connections(self) -> int:
        """How many there were since the last question."""
        count = 0
        for listener in self.listeners:
            with suppress(BlockingIOError):
                while True:
                    listener.accept()[0].close()
                    count += 1
        return count
