"""A picture that has taken over its codec child: it achieves nothing outside, and costs its own image alone."""

import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from services.worker.codec import Rendition
from services.worker.codec_pool import CodecPool, PoolLimits, child
from shared.errors import CodecCrashed, CodecTimeout, ImageError
from tests.unit.worker.captured import CALLS, attempt
from tests.unit.worker.codec import hostile, kinds, test_metadata
from tests.unit.worker.planted import outcomes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the limits hold")
ROOT = Path(__file__).parents[3]
CANARY = "postgresql://halftone:canary-5f1c@127.0.0.1/halftone"


@pytest.fixture(scope="module")
def pool() -> Iterator[CodecPool]:
    made = CodecPool(1, codec=attempt)
    outcomes(made, [b"open a socket:"])  # so that its processes are there
    yield made
    made.close()


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    path = tmp_path / "blob"
    path.write_bytes(b"someone else's")
    return path


@pytest.mark.parametrize("name", CALLS)
def test_a_captured_child_is_refused(pool: CodecPool, blob: Path, name: str) -> None:
    before = len(psutil.Process().children(recursive=True))
    rest = str(blob) if ("blob" in name or "folder" in name) else str(blob) + ".new"
    rest = str(os.getpid()) if "worker" in name or "signal" in name else rest
    (made,) = outcomes(pool, [f"{name}:{rest}".encode()])
    assert isinstance(made, Rendition), made
    assert made.body.startswith(b"refused"), made.body
    assert blob.read_bytes() == b"someone else's"
    assert [path.name for path in blob.parent.iterdir()] == ["blob"]
    assert len(psutil.Process().children(recursive=True)) == before


@pytest.mark.parametrize(
    ("lie", "error", "says"),
    [
        ("claim", CodecCrashed, "the child's answer"),
        ("pickled", CodecCrashed, "the child's answer"),
        ("half", CodecTimeout, ""),
        ("drip", CodecTimeout, ""),
    ],
)
def test_a_child_that_lies_costs_its_own_image(lie: str, error: type[ImageError], says: str, tmp_path: Path) -> None:
    """`claim` of four gigabytes and `drip` of one byte at a time, too, take no memory and end in time."""
    limits = PoolLimits(wall_seconds=3.0) if error is CodecTimeout else PoolLimits()
    pool = CodecPool(1, limits, codec=attempt)
    before, most = psutil.Process().memory_info().rss, 0
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.05):
            most = max(most, psutil.Process().memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        results = outcomes(pool, [f"{lie}:{tmp_path / 'ran'}".encode(), b"open a socket:"])
    finally:
        done.set()
        watcher.join()
        pool.close()
    assert isinstance(results[0], error)
    assert says in results[0].detail
    assert isinstance(results[1], Rendition)
    assert not list(tmp_path.iterdir())
    assert most - before < 50_000_000


PARENT = """
import os, sys
from services.worker.codec_pool import CodecPool
from tests.unit.worker.planted import misbehave, outcomes
pool = CodecPool(1, codec=misbehave)
print(*(int(made.body) for made in outcomes(pool, [b"pid"])), flush=True)
sys.stdin.read()
pool.close()
"""


def test_a_child_has_no_trace_of_the_workers_environment_and_no_descriptor_but_its_own(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": CANARY}
    command = [sys.executable, "-c", PARENT]
    with (tmp_path / "open").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        parent = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, pass_fds=[file.fileno()]
        )
    assert parent.stdout is not None
    try:
        pid = int(parent.stdout.readline())
        assert CANARY.encode() in _memory(parent.pid)
        server = psutil.Process(pid).ppid()
        assert server != parent.pid
        for process in (pid, server):
            assert CANARY.encode() not in _memory(process)
            assert b"DATABASE_URL" not in Path(f"/proc/{process}/environ").read_bytes()
        opened = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
        kinds = sorted(name.partition(":")[0] for name in opened)
        assert kinds == ["/dev/null"] * 3 + ["pipe", "socket"]
    finally:
        parent.communicate()


def _memory(pid: int) -> bytes:
    """All that the process has written and may read."""
    parts = []
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in maps:
            area, rights, *_ = line.split()
            begin, end = (int(number, 16) for number in area.split("-"))
            if rights.startswith("rw") and not line.rstrip().endswith("[vvar]"):
                memory.seek(begin)
                parts.append(memory.read(end - begin))
    return b"".join(parts)


IMPORTS = """
import sys
from services.worker.codec_pool import preload
from services.worker.codec import compress
from shared.errors import ImageError
from shared.recipe import Recipe, TargetFormat
import pickle
files = pickle.load(sys.stdin.buffer)
seen = []
listening = False
def listen(event, arguments):
    if listening and event in {"import", "open", "os.listdir"}:
        seen.append((event, arguments[0]))
sys.addaudithook(listen)
listening = True
for file in files:
    for wanted in TargetFormat:
        try:
            compress(file, Recipe(format=wanted, max_side=40))
        except ImageError:
            pass
listening = False
print(seen)
"""


def test_a_confined_codec_opens_and_imports_nothing() -> None:
    """It could not: a module that is not there would pass for a corrupt picture."""
    files = [kind.make() for kind in kinds.KINDS] + [make() for make in test_metadata.KINDS.values()]
    files += [body for _, body in (*hostile.truncated(), *hostile.flipped(), *hostile.polyglots())]
    ran = subprocess.run(
        [sys.executable, "-c", IMPORTS],
        input=pickle.dumps(files),
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert ran.stdout == b"[]\n"


def test_what_does_not_hold_is_said_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "_warned", threading.Event())
    with caplog.at_level(logging.WARNING):
        for said in (b"c", b"l", b"l"):
            child._report(said)
    assert len(caplog.records) == 1
