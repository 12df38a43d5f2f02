"""The session's servers, fresh databases on them, and the full stack, each started at its first use."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import hypothesis
import pytest
import redis

from tests.bucket import Bucket, running_bucket
from tests.given import GivenStack, is_given
from tests.stack import Stack, keep_logs, own_folder

LONGEST = {"upgrades", "e2e"}
"""Folders of tests."""
WORKSPACE = pytest.StashKey[Path]()
_numbers = count(1)
# A deadline of an example would be a timed assertion: machines stand still at times.
hypothesis.settings.register_profile("halftone", deadline=None)
hypothesis.settings.load_profile("halftone")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Make this process's folder, with `tmp_path` in it; the xdist workers have a part of their parent's.

    Our child processes have a temporary folder below the system's, where paths are short: workers and Chromium create
    sockets there, whose paths have at most 107 bytes, and killed workers leave them.
    """
    own = config.stash[WORKSPACE] = own_folder()
    config.add_cleanup(lambda: _remove(own))
    if config.option.basetemp is None:
        config.option.basetemp = str(own / "tmp")
    temporary = tempfile.mkdtemp(prefix="" if hasattr(config, "workerinput") else "halftone-")
    config.add_cleanup(lambda: _remove(Path(temporary)))
    os.environ["TMPDIR"] = temporary


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that take longest begin first, so that no process is alone with them at the end."""
    items.sort(key=lambda item: not LONGEST.intersection(item.path.parts))


def _remove(folder: Path) -> None:
    """Try for a moment: a descendant of a killed process may still be writing there."""
    deadline = time.monotonic() + 2
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def workspace(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder of this session's own; logs of a session with failures stay in `.test/last`."""
    yield (own := request.config.stash[WORKSPACE])
    if request.session.testsfailed:
        keep_logs(own, "last")


@pytest.fixture(scope="session")
def cluster(workspace: Path) -> Path:
    """The folder of a stack that was started for the first time and stopped, for `Stack(like=...)`."""
    if is_given():
        pytest.skip("needs a stack of its own")
    with Stack(workspace / "cluster", servers_only=True) as stack:
        assert stack.log().count("bringing the tables up to date") == 1
    return stack.data_dir


@pytest.fixture(scope="session")
def servers(workspace: Path, cluster: Path) -> Iterator[Stack]:
    """PostgreSQL and Valkey, nothing else; its database `halftone` is migrated and the template of all others."""
    with Stack(workspace / "servers", servers_only=True, like=cluster) as stack:
        yield stack


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Bucket]:
    """An S3 server of the session's own."""
    with running_bucket() as bucket:
        yield bucket


@pytest.fixture
def bucket(s3_server: Bucket) -> Bucket:
    """An empty bucket."""
    s3_server.empty()
    return s3_server


@pytest.fixture(scope="session")
def stack(workspace: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Everything, through the gateway, with two workers; or the one that HALFTONE_TEST_URL names."""
    if is_given():
        yield GivenStack(workspace / "stack")
        return
    like = request.getfixturevalue("cluster")
    with Stack(workspace / "stack", env={"HALFTONE_WORKERS": "2"}, like=like) as stack:
        yield stack


@pytest.fixture
def database_url(servers: Stack) -> Iterator[str]:
    """A migrated, empty database of this test's own."""
    with servers.database(f"test_{next(_numbers)}") as url:
        yield url


@pytest.fixture
def redis_url(servers: Stack) -> Iterator[str]:
    """An empty Valkey, shared by the tests of a session."""
    client = redis.Redis.from_url(servers.redis_url)
    client.flushall()
    yield servers.redis_url
    client.flushall()
    client.close()
