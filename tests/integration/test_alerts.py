"""The alerts, by Prometheus' own rule tester: each fires for its trouble, and not for what looks like it."""

import subprocess

import pytest

from tests.observability import CASES, CONFIG, program


@pytest.mark.parametrize("command", [("test", "rules", CASES), ("check", "config", CONFIG)], ids=["cases", "config"])
def test_promtool_is_content(command: tuple[object, ...]) -> None:
    done = subprocess.run([program("promtool"), *map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
