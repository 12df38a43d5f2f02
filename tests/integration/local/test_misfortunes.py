"""Misfortunes of a stack on a laptop: it continues, or says in one line why not, and harms no other process."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.local.postgres import end_leftover
from tests.stack import READY_WITHIN, Stack, pings, until


def test_stop_never_ends_the_process_that_a_killed_stack_s_pid_belongs_to_by_now(
    folder: Path, request: pytest.FixtureRequest
) -> None:
    stack = Stack(folder)
    folder.mkdir()
    stranger = subprocess.Popen(["sleep", "60"])
    request.addfinalizer(stranger.wait)
    request.addfinalizer(stranger.kill)
    (folder / "stack.json").write_text(json.dumps({"pid": stranger.pid, "ready": True, "processes": {}}))
    with socket.create_server(("127.0.0.1", stack.port)):  # so that the new one waits a while
        process = stack.begin("run")
        until(lambda: stack.state().get("pid") == process.pid)
        assert stack.command("stop").returncode == 0
        process.communicate(timeout=10)
    assert stranger.poll() is None


def test_a_pid_file_whose_number_is_another_process_s_by_now_is_removed_and_the_process_spared(
    stack: Stack, folder: Path
) -> None:
    """Another stack's PostgreSQL has the same binary."""
    another = stack.kill("postgres", signal.SIGCONT)
    for pid in (another, os.getpid()):
        cluster = folder / "old"
        cluster.mkdir(exist_ok=True)
        (cluster / "postmaster.pid").write_text(f"{pid}\n{cluster}\n")
        end_leftover(cluster)
        assert not (cluster / "postmaster.pid").exists()
    assert stack.pid("postgres") == another
    assert _runs(stack)


def test_processes_are_restarted_after_the_output_pipe_was_closed(stopped: Stack) -> None:
    with _running(stopped) as process:
        assert process.stdout
        process.stdout.close()
        for name in ("postgres", "valkey"):
            stopped.restart(name, signal.SIGKILL)
        until(lambda: _runs(stopped), within=20)


def test_processes_are_restarted_though_the_state_cannot_be_written(stack: Stack, folder: Path) -> None:
    address = stack.redis_url
    valkey = stack.pid("valkey")
    assert valkey
    (folder / "stack.json").unlink()
    (folder / "stack.json").mkdir()  # in the way of the new one, as a full disk would be
    os.kill(valkey, signal.SIGKILL)
    until(lambda: not pings(address), every=0.01)
    until(lambda: pings(address))
    (folder / "stack.json").rmdir()


def test_a_stack_under_nohup_outlives_its_terminal(stopped: Stack) -> None:
    with _running(stopped, "nohup") as process:
        process.send_signal(signal.SIGHUP)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1.5)
    assert process.returncode == 0


def test_a_killed_server_leaves_no_shared_memory_outside_its_data_folder(stack: Stack) -> None:
    mapped = Path(f"/proc/{stack.pid('postgres')}/maps").read_text()
    assert f"{stack.data_dir}/postgres/pg_dynshmem/" in mapped
    assert "/dev/shm/" not in mapped


def test_frozen_processes_are_killed_at_a_stop(folder: Path, cluster: Path) -> None:
    """How long it may take at most, the unit test of the tiers adds up."""
    with Stack(folder, like=cluster) as stack:
        for name in ("gateway", "worker-1", "postgres"):
            stack.kill(name, signal.SIGSTOP)


def test_a_folder_that_cannot_be_made_is_one_line(folder: Path) -> None:
    folder.write_text("a file")
    for command in ("run", "start"):
        refused = Stack(folder).command(command)
        assert refused.returncode == 1
        assert refused.stderr.count("\n") == 1
        assert str(folder) in refused.stderr


@contextmanager
def _running(stack: Stack, *under: str) -> Iterator[subprocess.Popen[str]]:
    with stack.begin("run", "--servers-only", under=under) as process:
        try:
            until(lambda: bool(stack.state().get("ready")), within=READY_WITHIN)
            yield process
            assert stack.command("stop").returncode == 0
        finally:
            process.terminate()


def _runs(stack: Stack) -> bool:
    return stack.command("status").returncode == 0 and pings(stack.redis_url)
