"""The services are forked from one process; whichever of the three generations is killed, nothing is left behind."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.stack import STOP_WITHIN, Stack, until

SERVICES = ("ingest", "worker-1", "notifier", "status")


def test_services_share_a_parent_and_are_restarted_one_by_one(folder: Path, cluster: Path) -> None:
    with Stack(folder, like=cluster) as stack:
        before = {name: stack.pid(name) for name in SERVICES}
        (parent,) = {psutil.Process(pid).ppid() for pid in before.values() if pid}
        assert psutil.Process(parent).ppid() == stack.state()["pid"]
        assert [psutil.Process(pid).name() for pid in before.values()] == list(SERVICES)
        assert "halftone worker-1 services.worker" in psutil.Process(before["worker-1"]).cmdline()[0]
        stack.restart("status", signal.SIGKILL)
        assert {name for name in SERVICES if stack.pid(name) != before[name]} == {"status"}
        assert psutil.Process(stack.pid("status")).ppid() == parent


def test_secrets_of_the_environment_reach_no_service(folder: Path, cluster: Path) -> None:
    secrets = {"HALFTONE_KEY": "ht_of-a-person", "HALFTONE_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    with Stack(folder, env={**secrets, "HALFTONE_STATUS_PASSWORD": "of-status"}, like=cluster) as stack:
        shown = {name: Path(f"/proc/{stack.pid(name)}/environ").read_bytes() for name in stack.names()}
        assert {
            name for name, found in shown.items() if any(value.encode() in found for value in secrets.values())
        } == set()
        fork_server = psutil.Process(stack.pid("worker-1")).ppid()
        assert not secrets.keys() & psutil.Process(fork_server).environ().keys()
        assert stack.command("secret").stdout.strip() == secrets["HALFTONE_WEBHOOK_SECRET"]


@pytest.mark.parametrize("victim", ["supervisor", "fork server"])
def test_a_killed_ancestor_ends_the_whole_stack(folder: Path, victim: str) -> None:
    stopped = Stack(folder)
    with stopped.begin("run") as process:
        until(lambda: bool(stopped.state().get("ready")), within=60)
        everyone = [pid for name in stopped.names() for pid in stopped.pids(name)]
        fork_server = psutil.Process(stopped.pid("worker-1")).ppid()
        everyone.append(fork_server)
        os.kill(process.pid if victim == "supervisor" else fork_server, signal.SIGKILL)
        printed = process.communicate(timeout=STOP_WITHIN)[0]
    until(lambda: not any(psutil.pid_exists(pid) for pid in everyone), within=15)
    if victim == "fork server":
        assert process.returncode == 1
        assert "halftone: the fork server has ended, and the services with it" in printed
