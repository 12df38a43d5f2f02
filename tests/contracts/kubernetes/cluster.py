"""What deploy/k8s and docker-compose.yml say, for tests that hold them together."""

from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any

import yaml

from tests.contracts.kubernetes.kustomize import Manifest, containers, render
from tests.stack import ROOT

FOLDER = ROOT / "deploy" / "k8s"
SERVICES = ("ingest", "status", "worker", "notifier")
SERVERS = ("postgres", "valkey")
OURS = ("gateway", *SERVICES)
ALL = ("migrate", *OURS, *SERVERS)
PODS = {"Deployment", "StatefulSet", "Job"}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


@cache
def rendered(name: str) -> tuple[Manifest, ...]:
    return tuple(render(FOLDER / name))


def workload(name: str) -> Manifest:
    """The deployment, stateful set or job of the example."""
    return next(one for one in rendered("example") if one["kind"] in PODS and one["metadata"]["name"] == name)


def pod(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = workload(name)["spec"]["template"]["spec"]
    return spec


def container(name: str) -> dict[str, Any]:
    """The one that serves, not the one that waits for the migrations."""
    return list(containers(workload(name)))[-1]


def config_map() -> dict[str, str]:
    """The settings of all services."""
    found = (one for one in rendered("example") if one["kind"] == "ConfigMap" and "HALFTONE_AUTH" in one["data"])
    data: dict[str, str] = next(found)["data"]
    return data


def seconds(text: str) -> int:
    """Of compose's `30s`."""
    return int(text.removesuffix("s"))


def quantity(text: str) -> float:
    """Bytes, or cores, of a Kubernetes quantity."""
    units = {"m": 1e-3, "M": 1e6, "G": 1e9, "Mi": 2.0**20, "Gi": 2.0**30}
    number = text.rstrip("GMim")
    return float(number) * units.get(text[len(number) :], 1)


class Network:
    """The network policies of an overlay: any that selects a pod closes it, and then opens what it names."""

    def __init__(self, overlay: str) -> None:
        self.policies = [one["spec"] for one in rendered(overlay) if one["kind"] == "NetworkPolicy"]

    def reaches(self, source: str, target: str, port: int) -> bool:
        """Whether one of our pods may connect to another."""
        to = any(self._peers(rule, "to", target, port) for rule in self._rules(source, "egress"))
        return to and any(self._peers(rule, "from", source, port) for rule in self._rules(target, "ingress"))

    def reaches_out(self, source: str, address: str, port: int) -> bool:
        """Whether a pod may connect to an address outside."""
        rules = self._rules(source, "egress")
        blocks = [peer["ipBlock"] for rule in rules for peer in rule["to"] if "ipBlock" in peer and _has(rule, port)]
        inside = (
            _within(address, block["cidr"]) and not any(_within(address, less) for less in block.get("except", []))
            for block in blocks
        )
        return any(inside)

    def open_to_everyone(self, target: str) -> list[int]:
        """Ports of a pod that all the world may connect to."""
        rules = self._rules(target, "ingress")
        return [port["port"] for rule in rules if not rule.get("from") for port in rule["ports"]]

    def is_closed(self, name: str, direction: str) -> bool:
        return any(_selects(spec["podSelector"], name) and direction in spec["policyTypes"] for spec in self.policies)

    def _rules(self, name: str, direction: str) -> list[dict[str, Any]]:
        return [
            rule for spec in self.policies if _selects(spec["podSelector"], name) for rule in spec.get(direction, [])
        ]

    def _peers(self, rule: dict[str, Any], side: str, name: str, port: int) -> bool:
        own = [peer for peer in rule.get(side, []) if "podSelector" in peer and "namespaceSelector" not in peer]
        return _has(rule, port) and any(_selects(peer["podSelector"], name) for peer in own)


def _has(rule: dict[str, Any], port: int) -> bool:
    return any(one["port"] == port and one.get("protocol", "TCP") == "TCP" for one in rule["ports"])


def _within(address: str, block: str) -> bool:
    return ip_address(address) in ip_network(block)


def _selects(selector: dict[str, Any], name: str) -> bool:
    labels = workload(name)["spec"]["template"]["metadata"]["labels"]
    equal = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    among = (labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", []))
    return equal and all(among)
