"""There are no API keys yet, so a stack that others can reach must be configured so explicitly."""

import os
import subprocess
import sys

import pytest

from deploy.local.settings import LocalSettings
from tests.stack import ROOT

ELSEWHERE = "0.0.0.0"


def started(*module: str, **env: str) -> tuple[int, list[str]]:
    """The exit status and what was printed."""
    command = [sys.executable, "-m", *module]
    known = {"PATH": os.defpath, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    done = subprocess.run(command, cwd=ROOT, env=known | env, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).splitlines()


@pytest.mark.parametrize("service", ["ingest", "status"])
def test_a_service_that_is_to_require_keys_does_not_start_and_says_why(service: str) -> None:
    status, printed = started("uvicorn", f"services.{service}.app:create", "--factory", HALFTONE_AUTH="required")
    assert status == 2
    assert [line for line in printed if "HALFTONE_AUTH" in line] == printed
    assert len(printed) == 1


@pytest.mark.parametrize("env", [{"HALFTONE_AUTH": "required"}, {"HALFTONE_BIND": ELSEWHERE}])
def test_the_local_stack_does_not_start_either_and_not_on_an_open_address_unasked(env: dict[str, str]) -> None:
    status, printed = started("deploy.local", "run", **env)
    assert status == 2
    assert [line.split(":")[:2] for line in printed] == [["halftone", " HALFTONE_AUTH"]]


def test_an_open_address_is_allowed_on_purpose() -> None:
    assert LocalSettings(bind=ELSEWHERE, auth="off").bind == ELSEWHERE


@pytest.mark.parametrize("loopback", ["127.0.0.1", "::1", "localhost"])
def test_the_loopback_needs_no_word(loopback: str) -> None:
    assert LocalSettings(bind=loopback).is_loopback
