"""A forked process behaves as one of `python -m`: arguments, environment, output, exit status and end are its own."""

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from deploy.local import fork_server
from deploy.local.data_dir import DataDir
from deploy.local.processes import Processes
from deploy.local.settings import LocalSettings

ROOT = Path(__file__).resolve().parents[3]
SUPERVISOR = """
import asyncio, json, os, sys
from pathlib import Path
from deploy.local import fork_server
from deploy.local.process import Child, Spec, Tier

lock = open("lock", "w")  # which no other process may hold
fork_server.LIBRARIES = ("json",)
forks = fork_server.start(sys.argv[1:])

async def ready():
    return True

async def main():
    spec = Spec(
        name="forked-one", tier=Tier.SERVICE, command=["forked_module", "an argument"],
        env={"GIVEN": "yes"}, cwd=Path.cwd(), ready=ready, forked=True,
    )
    lines = []
    child = Child(spec, lambda name, text: lines.append(text), forks.fork)
    statuses = [await child.run(lambda: None) for _ in range(2)]
    print(json.dumps({"lines": lines, "statuses": statuses, "me": os.getpid()}))

asyncio.run(main())
forks.close()
"""


def run(folder: Path, module: str, *secrets: str) -> tuple[list[str], list[int]]:
    """Run `module` forked, twice: its lines and exit statuses; `secrets` are variables that it may not see."""
    (folder / "forked_module.py").write_text(dedent(module))
    ended = subprocess.run(
        [sys.executable, "-c", SUPERVISOR, *secrets],
        cwd=folder,
        env={"PYTHONPATH": f"{ROOT}:{folder}", "SECRET": "not for children"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert not ended.stderr
    report = json.loads(ended.stdout)
    return report["lines"], report["statuses"]


def test_it_is_the_main_module_with_its_own_arguments_environment_and_session(tmp_path: Path) -> None:
    lines, statuses = run(
        tmp_path,
        """
        import os, signal, sys
        assert __name__ == "__main__" and sys.modules["__main__"].__spec__.name == "forked_module"
        print(sys.argv[1:], dict(os.environ), os.getsid(0) == os.getpid(), signal.getsignal(signal.SIGCHLD).name)
        print(sys.stdin.read() == "", open("/proc/self/comm").read().strip(), gc_is_on := __import__("gc").isenabled())
        """,
    )
    assert lines == ["['an argument'] {'GIVEN': 'yes'} True SIG_DFL", "True forked-one True"] * 2
    assert statuses == [0, 0]


def test_it_inherits_no_descriptor_but_the_standard_ones(tmp_path: Path) -> None:
    lines, _ = run(
        tmp_path,
        """
        import os
        print(sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1])  # the last one lists the folder
        """,
    )
    assert lines == ["[0, 1, 2]"] * 2


def test_no_trace_of_a_secret_is_in_its_memory(tmp_path: Path) -> None:
    """What it is started from had the secret in its environment, which every process of this user may read."""
    lines, statuses = run(
        tmp_path,
        """
        import os, re
        memory = os.open("/proc/self/mem", os.O_RDONLY)
        found = []
        for line in open("/proc/self/maps"):
            area, mode, *_, name = line.split(maxsplit=5) + [""]
            start, end = (int(number, 16) for number in area.split("-"))
            if mode.startswith("rw"):
                found += re.findall(rb"not for [c]hildren", os.pread(memory, end - start, start))
        print("SECRET" in os.environ, len(found))
        """,
        "SECRET",
    )
    assert lines == ["False 0"] * 2
    assert statuses == [0, 0]


def test_it_waits_for_its_threads_and_runs_what_is_registered_for_the_end(tmp_path: Path) -> None:
    lines, statuses = run(
        tmp_path,
        """
        import atexit, sys, threading, time
        atexit.register(print, "registered")
        threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
        sys.exit(3)
        """,
    )
    assert lines == ["thread", "registered"] * 2
    assert statuses == [3, 3]


@pytest.mark.parametrize(
    ("module", "status", "last_line"),
    [
        ("raise OSError('for this test')", 1, "OSError: for this test"),
        ("import os; print('now', flush=True); os.kill(os.getpid(), 9)", -9, "now"),
        ("import os; print('now'); os._exit(4)", 4, "now"),
    ],
)
def test_its_end_is_reported_as_it_was(tmp_path: Path, module: str, status: int, last_line: str) -> None:
    lines, statuses = run(tmp_path, module)
    assert statuses == [status, status]
    assert lines[-1] == last_line


@pytest.mark.parametrize("safe", [True, False])
def test_where_a_fork_is_not_safe_each_service_is_started_by_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, safe: bool
) -> None:
    monkeypatch.setattr(fork_server, "SAFE", safe)
    data = DataDir(tmp_path)
    data.make()
    services = Processes(LocalSettings(data_dir=tmp_path), data).services()
    starts = [] if safe else [sys.executable, "-m"]
    assert [spec.command[: len(starts) + 1] for spec in services] == [
        [*starts, module] for module in ("uvicorn", "services.worker", "services.notifier", "uvicorn")
    ]
    assert {spec.forked for spec in services} == {safe}
