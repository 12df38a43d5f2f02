from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.stack import Stack

_numbers = count(1)


@pytest.fixture
def folder(workspace: Path) -> Path:
    """Below the project, where the user that PostgreSQL runs as can reach it."""
    return workspace / f"local-{next(_numbers)}"


@pytest.fixture
def stack(folder: Path, cluster: Path) -> Iterator[Stack]:
    with Stack(folder, servers_only=True, like=cluster) as stack:
        yield stack


@pytest.fixture
def stopped(folder: Path) -> Iterator[Stack]:
    """Not started yet; stopped by command at the end, if it runs then."""
    yield (stack := Stack(folder, servers_only=True))
    stack.command("stop")
