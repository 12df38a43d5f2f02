"""A stack that others can reach needs API keys unless it is said otherwise."""

import os
import subprocess
import sys

import pytest

from deploy.local.preflight import tell_of_others
from deploy.local.settings import LocalSettings
from tests.stack import ROOT

ELSEWHERE = "0.0.0.0"


def started(*module: str, **env: str) -> tuple[int, list[str]]:
    """The exit status and what was printed."""
    command = [sys.executable, "-m", *module]
    known = {"PATH": os.defpath, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}
    done = subprocess.run(command, cwd=ROOT, env=known | env, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).splitlines()


def test_an_open_address_needs_keys_and_the_loopback_none() -> None:
    assert LocalSettings(bind=ELSEWHERE).auth == "required"
    assert LocalSettings().auth == "off"


@pytest.mark.parametrize("auth", ["off", "required"])
@pytest.mark.parametrize("bind", [ELSEWHERE, "127.0.0.1"])
def test_what_is_said_holds(bind: str, auth: str) -> None:
    assert LocalSettings(bind=bind, auth=auth).auth == auth


@pytest.mark.parametrize("loopback", ["127.0.0.1", "::1", "localhost"])
def test_the_loopback_is_known_by_all_its_names(loopback: str) -> None:
    assert LocalSettings(bind=loopback).is_loopback


@pytest.mark.parametrize(
    ("settings", "key", "name"),
    [
        ({}, False, False),
        ({"auth": "required"}, False, False),
        ({"bind": ELSEWHERE}, True, True),
        ({"bind": "::", "auth": "off"}, False, True),
        ({"bind": ELSEWHERE, "public_url": "http://127.0.0.1:8080"}, True, True),
        ({"bind": ELSEWHERE, "public_url": "http://pictures.example"}, True, False),
        ({"bind": ELSEWHERE, "allowed_hosts": "192.168.1.5"}, True, False),
        ({"bind": "192.168.1.5"}, True, False),
    ],
)
def test_the_start_says_what_others_need(
    capsys: pytest.CaptureFixture[str], settings: dict[str, str], *, key: bool, name: bool
) -> None:
    """A key, and that this machine is named as they call it: any other `Host` is refused."""
    tell_of_others(LocalSettings.model_validate(settings))
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if "`make key NAME=shop` makes one" in line] == lines[:key]
    assert [line for line in lines if "as in HALFTONE_PUBLIC_URL=http://" in line] == lines[key : key + name]
    assert len(lines) == key + name
