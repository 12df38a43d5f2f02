"""The previous release's code, unpacked once."""

from pathlib import Path

import pytest

from tests.upgrades.release import unpack


@pytest.fixture(scope="session")
def previous(workspace: Path) -> Path:
    return unpack(workspace / "previous-release")
