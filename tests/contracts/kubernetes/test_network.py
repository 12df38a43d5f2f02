"""The network policies let through what docker-compose.yml's networks let through, and less."""

from itertools import permutations, product

import pytest

from shared.addresses import LINK_LOCAL, REFUSED
from tests.contracts.kubernetes.cluster import ALL, COMPOSE, SERVERS, SERVICES, Network

PORTS = {"gateway": 8080, **dict.fromkeys(SERVICES, 8000), "postgres": 5432, "valkey": 6379}
WANTED = {
    ("gateway", "ingest"),
    ("gateway", "status"),
    *((name, server) for name in SERVICES for server in SERVERS),
    ("migrate", "postgres"),
}
PUBLIC = ("1.1.1.1", "2606:4700::1111")
BASE, EXAMPLE = Network("base"), Network("example")


def test_who_may_talk_to_whom() -> None:
    pairs = {
        (source, target)
        for source, target in permutations(ALL, 2)
        if target in PORTS and EXAMPLE.reaches(source, target, PORTS[target])
    }
    assert pairs == WANTED


def test_all_of_them_share_a_network_in_compose() -> None:
    networks = {name: set(COMPOSE["services"][name]["networks"]) for name in ALL}
    assert all(networks[source] & networks[target] for source, target in WANTED)


@pytest.mark.parametrize("name", ALL)
def test_a_pod_is_closed_both_ways(name: str) -> None:
    assert EXAMPLE.is_closed(name, "Ingress")
    assert EXAMPLE.is_closed(name, "Egress")


@pytest.mark.parametrize("name", ALL)
def test_only_the_gateway_is_reached_from_elsewhere(name: str) -> None:
    assert EXAMPLE.open_to_everyone(name) == ([8080] if name == "gateway" else [])


@pytest.mark.parametrize("address", PUBLIC)
@pytest.mark.parametrize("port", [80, 443])
def test_only_worker_and_notifier_reach_out(address: str, port: int) -> None:
    assert {name for name in ALL if BASE.reaches_out(name, address, port)} == {"worker", "notifier"}


def test_they_do_in_compose() -> None:
    internal = {name for name, network in COMPOSE["networks"].items() if (network or {}).get("internal")}
    for name in ("worker", "notifier"):
        assert set(COMPOSE["services"][name]["networks"]) - internal
    for name in SERVERS:
        assert not set(COMPOSE["services"][name]["networks"]) - internal


def test_the_example_opens_the_bucket_s_port_to_all_services_and_nothing_else() -> None:
    assert {name for name in ALL if EXAMPLE.reaches_out(name, PUBLIC[0], 443)} == set(SERVICES)
    assert {name for name in ALL if EXAMPLE.reaches_out(name, PUBLIC[0], 80)} == {"worker", "notifier"}
    assert not {name for name in ALL if EXAMPLE.reaches_out(name, PUBLIC[0], 22)}


@pytest.mark.parametrize("overlay", [BASE, EXAMPLE], ids=["base", "example"])
def test_nobody_reaches_what_is_private(overlay: Network) -> None:
    """Of the addresses that the egress guard refuses, those that lead into a cluster or to a machine beside it."""
    private = ("10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16")
    blocks = [block for block in REFUSED if str(block) in private] + [
        block for block in LINK_LOCAL if block.version == 6
    ]
    assert len(blocks) > len(private)
    addresses = [str(block[1]) for block in blocks]
    reached = {
        (name, address)
        for name, address, port in product(ALL, addresses, (80, 443))
        if overlay.reaches_out(name, address, port)
    }
    assert reached == set()
