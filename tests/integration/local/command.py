"""`python -m deploy.local`, as a person would type it."""

import subprocess
import sys

from tests.stack import ROOT, Stack


def local(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.local", *arguments]
    return subprocess.run(command, cwd=ROOT, env=stack.env, capture_output=True, text=True, check=False, timeout=60)


def begun(stack: Stack, *arguments: str) -> subprocess.Popen[str]:
    """The same, not waited for; all that it prints is in one stream."""
    command = [sys.executable, "-m", "deploy.local", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=stack.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
