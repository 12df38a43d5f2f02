"""The previous release's code in a clone that does not have it."""

import subprocess
from pathlib import Path

import pytest

from tests.stack import ROOT
from tests.upgrades.release import COMMIT, unpack


@pytest.fixture
def shallow(tmp_path: Path, previous: Path) -> Path:
    """A clone with the newest commit alone, of one that has them all."""
    assert previous.exists()
    command = ["git", "clone", "--quiet", "--depth", "1", ROOT.as_uri(), str(tmp_path / "clone")]
    subprocess.run(command, check=True, capture_output=True)
    return tmp_path / "clone"


def test_a_shallow_clone_fetches_it(shallow: Path, tmp_path: Path) -> None:
    assert (unpack(tmp_path / "code", clone=shallow) / "services" / "worker").is_dir()


def test_a_clone_that_cannot_fetch_it_says_what_to_do(shallow: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "remote", "remove", "origin"], cwd=shallow, check=True)
    with pytest.raises(pytest.fail.Exception, match=f"{COMMIT}.*git fetch --unshallow"):
        unpack(tmp_path / "code", clone=shallow)
