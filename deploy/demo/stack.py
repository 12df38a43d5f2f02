"""Starts the local stack if it is not running, and reads its signing secret and makes an API key where it needs one."""

import subprocess
import sys
import time

from deploy.local.data_dir import DataDir
from deploy.local.settings import ROOT, LocalSettings

READY_WITHIN = 120.0
COMMAND = (sys.executable, "-m", "deploy.local")


class DemoFailed(Exception):
    """The demo cannot go on; the message is for a person and says what to do."""


def bring_up(settings: LocalSettings) -> str:
    """Return the gateway's address once the stack is ready; the processes that start are printed."""
    data = DataDir(settings.folder)
    if not data.held_by_other():
        _start()
    deadline = time.monotonic() + READY_WITHIN
    while not (state := data.read_state()).get("ready"):  # another command may be starting it
        if time.monotonic() > deadline or not data.held_by_other():
            raise DemoFailed("the stack did not become ready; `make status` shows what runs")
        time.sleep(0.1)
    if not state["url"]:
        raise DemoFailed("only the servers of the stack are running: `make stop`, then `make demo`")
    return str(state["url"])


def signing_secret(account: str) -> str:
    return _asked("secret", "--account", account)


def new_key() -> str:
    """A key of the default account for this demo: it is the operator's own machine."""
    return _asked("keys", "create", "default", "--expires", "1d")


def _asked(*arguments: str) -> str:
    found = subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode:
        raise DemoFailed(f"`python -m deploy.local {arguments[0]}` failed: {found.stderr.strip()}")
    return found.stdout.strip()


def _start() -> None:
    # In a session of its own, so that a Ctrl-C reaches only the demo.
    with subprocess.Popen([*COMMAND, "start"], cwd=ROOT, start_new_session=True) as starting:
        try:
            status = starting.wait()
        except BaseException:
            starting.terminate()
            raise
    if status:
        raise DemoFailed("the stack did not start; the lines above say why")
