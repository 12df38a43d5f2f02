"""A stack that was started elsewhere, for those tests that only speak HTTP: settings of the environment name it.

HALFTONE_TEST_URL is the gateway, HALFTONE_TEST_KEY an API key of the account `default` with all scopes, and
HALFTONE_TEST_HOST an address of this machine that the stack reaches and may fetch from, at the ports of
HALFTONE_TEST_PORTS (comma-separated). HALFTONE_TEST_KEYS and HALFTONE_TEST_SECRET are the commands that do there what
`make key` and `make secret` do here.
"""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.stack import ROOT, Stack

PREFIX = "HALFTONE_TEST_"


class GivenStack(Stack):
    """Whatever needs its processes, its servers or its logs skips the test."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.data_dir = folder
        self.base_url = _setting("URL")
        self.port = urlsplit(self.base_url).port or 80
        self.api_key = _setting("KEY")
        self.host = _setting("HOST")
        self.host_ports = [int(port) for port in _setting("PORTS").split(",")]
        self.hosts = [f"{self.host}:{port}" for port in self.host_ports]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        name, *rest = arguments
        if name not in ("keys", "secret"):
            self.state()
        command = [*shlex.split(_setting(name.upper())), *rest]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    def start(self) -> None:
        """It runs."""

    def stop(self) -> None:
        """Others may use it."""

    def log(self) -> str:
        return pytest.skip("needs the logs of a stack of ours")

    def state(self) -> dict[str, Any]:
        return pytest.skip("needs the processes or servers of a stack of ours")


def is_given() -> bool:
    return f"{PREFIX}URL" in os.environ


def _setting(name: str) -> str:
    return os.environ[f"{PREFIX}{name}"]
