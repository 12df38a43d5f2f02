"""Node.js for the examples in JavaScript; a test that needs it fails where it is missing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.stack import FOLDER, ROOT

PACKAGES = ROOT / "tests/receivers"
MISSING = "{} is not installed: the examples in JavaScript are tested with Node.js 20 or newer and its npm."


def program(name: str) -> str:
    """The path of `node` or `npm`."""
    found = shutil.which(name)
    if found is None:
        pytest.fail(MISSING.format(name))
    return found


def install(folder: Path) -> None:
    """What tests/receivers/package-lock.json names, into `folder/node_modules`; npm's cache stays below `.test`."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PACKAGES / name, folder)
    command = [program("npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]
    env = os.environ | {"npm_config_cache": str(FOLDER / "npm"), "npm_config_update_notifier": "false"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
