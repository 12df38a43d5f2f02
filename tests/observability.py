"""Prometheus for tests: the files of deploy/observability, and the programs of Debian's package."""

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

from tests.stack import FOLDER, ROOT

HERE = ROOT / "deploy" / "observability"
RULES = HERE / "rules.yml"
CASES = HERE / "rules.test.yml"
CONFIG = HERE / "prometheus.yml"
DASHBOARD = HERE / "grafana" / "dashboards" / "halftone.json"
UNPACKED = FOLDER / "prometheus"
INSTALLED_WITHIN = 300


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    return dict(json.loads(DASHBOARD.read_text()))


def panels() -> Iterator[dict[str, Any]]:
    """Those that show something; rows are headings."""
    yield from (panel for panel in dashboard()["panels"] if panel["type"] != "row")


def queries() -> dict[str, str]:
    """The dashboard's, by panel and letter."""
    return {f"{panel['title']} {target['refId']}": target["expr"] for panel in panels() for target in panel["targets"]}


def expressions() -> list[str]:
    return [*queries().values(), *(rule["expr"] for rule in rules())]


def program(name: str) -> Path:
    """`prometheus` or `promtool`: the system's, or from Debian's package, unpacked below `.test` and not installed.

    Where there is neither the test is skipped, and says so.
    """
    if found := shutil.which(name):
        return Path(found)
    FOLDER.mkdir(exist_ok=True)
    with (FOLDER / "prometheus.lock").open("w") as lock:  # several processes of pytest ask at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not UNPACKED.exists() and not _unpack():
            pytest.skip(f"NOT TESTED: there is no {name} here, and apt-get gives no package `prometheus`")
    return UNPACKED / "usr" / "bin" / name


def _unpack() -> bool:
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        return False
    with TemporaryDirectory(dir=FOLDER) as folder:
        got = _succeeds(folder, "apt-get", "download", "prometheus")
        if not got and os.geteuid() == 0:
            got = _succeeds(folder, "apt-get", "update") and _succeeds(folder, "apt-get", "download", "prometheus")
        packages = list(Path(folder).glob("prometheus_*.deb"))
        if not packages or not _succeeds(folder, "dpkg", "-x", str(packages[0]), "unpacked"):
            return False
        Path(folder, "unpacked").rename(UNPACKED)
    return True


def _succeeds(folder: str, *command: str) -> bool:
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=INSTALLED_WITHIN)
    return done.returncode == 0
