"""The end-to-end tests of the local stack, those that only speak HTTP, through the gateway with keys required."""

import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.compose.compose import BASE_URL, FILE, PROJECT, Compose
from tests.compose.engine import Failed
from tests.compose.keys import new_key
from tests.compose.stack import RATES, bridge
from tests.stack import ROOT, reserve_ports

FEWEST = 60
"""Tests that run; the others need the processes, servers or logs of a stack of ours."""
SECRET = "SELECT signing_secret FROM account WHERE name = 'default'"


def check_end_to_end(compose: Compose, *, override: str = "", settings: Mapping[str, str] | None = None) -> None:
    """All of tests/e2e that a foreign stack can pass; `override` and `settings` add to the stack."""
    host, ports = bridge(compose), reserve_ports(8)
    places = ",".join(f"{host}:{port}" for port in ports)
    with tempfile.TemporaryDirectory() as folder:
        rates = Path(folder) / "override.json"
        more = {"environment": {**RATES, "HALFTONE_IMAGES_PER_DAY": "5000000"}}
        rates.write_text(json.dumps({"services": {"ingest": more, "status": more}}))
        given = {"HALFTONE_FETCH_ALLOW": places, **(settings or {})}
        own = Compose(compose.engine, Path(folder), override=f"{rates}{override}", settings=given)
        with own.up("--scale", "worker=2"):
            _run_tests(own, _given(own, host, ports))


def _given(compose: Compose, host: str, ports: list[int]) -> Mapping[str, str]:
    docker = ["docker", "compose", "-p", PROJECT, "-f", FILE, "exec", "-T"]
    return {
        "HALFTONE_TEST_URL": BASE_URL,
        "HALFTONE_TEST_KEY": new_key(compose, "default", "--scopes", "read,write,admin"),
        "HALFTONE_TEST_HOST": host,
        "HALFTONE_TEST_PORTS": ",".join(map(str, ports)),
        "HALFTONE_TEST_KEYS": shlex.join([*docker, "ingest", "python", "-m", "services.ingest.keys"]),
        "HALFTONE_TEST_SECRET": shlex.join([*docker, "postgres", "psql", "-U", "halftone", "-Atc", SECRET]),
    }


def _run_tests(compose: Compose, given: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-v", "-rs", "-p", "no:cacheprovider", "tests/e2e"]
    with subprocess.Popen(command, cwd=ROOT, env={**compose.env, **given}, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        line = ""
        for line in tests.stdout:
            print(line, end="", flush=True)
    passed = re.search(r"(\d+) passed", line)
    if tests.returncode or passed is None or int(passed[1]) < FEWEST:
        raise Failed(f"tests/e2e through the gateway ended with status {tests.returncode}")
    print(f"tests/e2e through the gateway: {passed[1]} passed")
