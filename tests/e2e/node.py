"""Node.js for the examples in JavaScript; a test that needs it fails where it is missing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import programs
from tests.stack import FOLDER, ROOT

PACKAGES = ROOT / "tests/receivers"


def program(name: str) -> str:
    """The path of `node` or `npm`."""
    try:
        return programs.path(name)
    except programs.MissingProgram as missing:
        pytest.fail(str(missing))


def install(folder: Path) -> None:
    """What tests/receivers/package-lock.json names, into `folder/node_modules`; npm's cache stays below `.test`."""
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PACKAGES / name, folder)
    command = [program("npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]
    env = os.environ | {"npm_config_cache": str(FOLDER / "npm"), "npm_config_update_notifier": "false"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
