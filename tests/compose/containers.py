"""The containers of a stack, one by one: addresses, main processes, networks, images."""

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.compose.compose import Compose
from tests.compose.engine import Failed

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Container:
    """`facts` is what `docker inspect` says."""

    compose: Compose
    facts: Facts

    @property
    def id(self) -> str:
        return str(self.facts["Id"])

    @property
    def name(self) -> str:
        """`worker-1`."""
        labels = self.facts["Config"]["Labels"]
        return f"{labels['com.docker.compose.service']}-{labels['com.docker.compose.container-number']}"

    @property
    def pid(self) -> int:
        """Of the main process, as this machine numbers it; 0 where it does not run."""
        return int(self.facts["State"]["Pid"])

    @property
    def networks(self) -> dict[str, Facts]:
        return dict(self.facts["NetworkSettings"]["Networks"])

    @property
    def address(self) -> str:
        """An IP address that this machine reaches.

        Raises:
            Failed: it has none at the moment.

        """
        for network in self.networks.values():
            if network["IPAddress"]:
                return str(network["IPAddress"])
        raise Failed(f"{self.name} is in no network")

    def kill(self) -> None:
        """Kill -9 the main process, and not with `docker kill`, after which nothing is restarted."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)

    def disconnect(self, network: str) -> None:
        self.compose.docker("network", "disconnect", network, self.id)

    def connect(self, network: str) -> None:
        """With the names that it had there when it was looked at."""
        names = [f"--alias={alias}" for alias in self.networks[network]["Aliases"] or []]
        self.compose.docker("network", "connect", *names, network, self.id)


def containers(compose: Compose, *services: str) -> list[Container]:
    """Those of these services, or all, that exist at this moment."""
    ids = compose("ps", "-aq", "--no-trunc", *services, capture=True).split()
    return [] if not ids else [Container(compose, facts) for facts in inspect(compose, ids)]


def inspect(compose: Compose, ids: Sequence[str]) -> list[Facts]:
    return list(json.loads(compose.docker("inspect", *ids)))
