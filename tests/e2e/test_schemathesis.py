"""schemathesis with all its checks against the document that the service gives out, through the gateway."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.status.openapi.calls import CALLS
from tests.stack import Stack

CONFIG = Path(__file__).with_suffix(".toml")
WITHIN = 120
EXAMPLES = 3
"""For each call and phase; besides, the coverage phase tries each border of each schema: some 1,170 cases in all."""


@pytest.fixture
def headers() -> dict[str, str]:
    """What each call is sent with: a key, where keys are required."""
    return {}


def test_the_api_does_what_its_document_says(stack: Stack, headers: dict[str, str]) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG)]
    command += ["run", f"{stack.base_url}/openapi.json", "--checks", "all", "--seed", "1", "--warnings", "off"]
    command += ["--max-examples", str(EXAMPLES), "--generation-database", "none", "--max-redirects", "0"]
    command += ["--continue-on-failure", "--request-timeout", "10", "--no-color"]
    command += [part for name, value in headers.items() for part in ("-H", f"{name}: {value}")]
    done = subprocess.run(
        command, cwd=stack.data_dir, env=os.environ, capture_output=True, text=True, check=False, timeout=WITHIN
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert f"Tested: {len(CALLS)}" in " ".join(done.stdout.split())
