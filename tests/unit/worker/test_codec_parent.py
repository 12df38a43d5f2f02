"""The worker as the parent of the codec's children: how it is started, killed, frozen and signalled."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.pictures import encode, photo
from tests.stack import until


def test_the_parent_never_imports_pillow_nor_the_child_the_parents_main(tmp_path: Path) -> None:
    """The parent is run as the worker is: `python -m PACKAGE`, whose `__main__` multiprocessing does not import."""
    package = tmp_path / "parent"
    package.mkdir()
    (package / "__main__.py").write_text(
        "import sys\n"
        "print('main imported by', __name__)\n"
        "if __name__ == '__main__':\n"
        "    from services.worker.codec_pool import CodecPool\n"
        "    from tests.unit.worker.planted import outcomes\n"
        "    pool = CodecPool(1)\n"
        "    made = outcomes(pool, [sys.stdin.buffer.read()])[0]\n"
        "    print(made.info.format, 'PIL' in sys.modules)\n"
        "    pool.close()\n"
    )
    source = encode(photo(32, 32), "png")
    ran = subprocess.run(
        [sys.executable, "-m", "parent"],
        input=source,
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env=_environment(),
        timeout=60,
    )
    assert ran.stdout.decode().split("\n") == ["main imported by __main__", "png False", ""]
    assert ran.stderr == b""


PARENT = """
import sys, threading
from services.worker.codec_pool import CodecPool
from tests.unit.worker.planted import misbehave, outcomes
pool = CodecPool(2, codec=misbehave)
pids = {int(made.body) for made in outcomes(pool, [b"pid"] * 40)}
threading.Thread(target=lambda: outcomes(pool, [VICE] * 2), daemon=True).start()
print(*pids, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("vice", [b"loop", b"sleep:60", b"echo:idle"])
def test_children_die_with_a_parent_that_is_killed(vice: bytes) -> None:
    with _parent(vice) as parent:
        pids = _pids(parent)
        everyone = {process.pid for process in psutil.Process(parent.pid).children(recursive=True)}
        assert pids <= everyone
        parent.kill()
    until(lambda: not any(_alive(pid) for pid in everyone))


FROZEN = """
from services.worker.codec_pool import CodecPool, PoolLimits
from tests.unit.worker.planted import misbehave, outcomes
pool = CodecPool(1, PoolLimits(wall_seconds=2.0), codec=misbehave)
outcomes(pool, [b"echo:ready"])
print("ready", flush=True)
print(type(outcomes(pool, [VICE])[0]).__name__, flush=True)
"""


@pytest.mark.parametrize("with_child", [False, True])
def test_the_time_for_which_the_worker_itself_was_frozen_is_not_the_pictures(*, with_child: bool) -> None:
    """A paused container or virtual machine; the child may have answered meanwhile, or have been paused too."""
    with _parent(b"sleep:0.5", FROZEN) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        time.sleep(0.2)
        worker = psutil.Process(parent.pid)
        frozen = [worker, *(worker.children(recursive=True) if with_child else [])]
        for process in frozen:
            process.suspend()
        time.sleep(3)
        for process in frozen:
            process.resume()
        assert parent.stdout.readline() == b"Rendition\n"
        parent.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_children_survive_a_signal_to_the_whole_group(number: signal.Signals) -> None:
    with _parent(b"sleep:0.2") as parent:
        pids = _pids(parent)
        for process in psutil.Process(parent.pid).children(recursive=True):
            os.kill(process.pid, number)
        assert all(_alive(pid) for pid in pids)
        parent.kill()


def _parent(vice: bytes, script: str = PARENT) -> "subprocess.Popen[bytes]":
    script = script.replace("VICE", repr(vice))
    return subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment()
    )


def _pids(parent: "subprocess.Popen[bytes]") -> set[int]:
    assert parent.stdout is not None
    return {int(word) for word in parent.stdout.readline().split()}


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
