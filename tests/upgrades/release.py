"""The previous release: the commit in previous_release.txt, whose code Git has and our virtualenv runs.

A release that is cut writes its commit there (`git rev-parse HEAD`), so that the next changes are held against it.
"""

import subprocess
from pathlib import Path

import pytest

from tests.stack import ROOT

COMMIT = (Path(__file__).parent / "previous_release.txt").read_text().strip()
ROOMS = ("services", "shared", "deploy")
FETCH_SECONDS = 60


def unpack(folder: Path, *, clone: Path = ROOT) -> Path:
    """Write the release's code into a new folder; a failure that says what to do where Git does not have it."""
    if _git(clone, "cat-file", "-e", f"{COMMIT}^{{commit}}").returncode:  # a shallow clone
        _git(clone, "fetch", "--quiet", "--depth", "1", "origin", COMMIT)
    archive = _git(clone, "archive", "--format=tar", COMMIT, *ROOMS)
    if archive.returncode:
        pytest.fail(
            f"the previous release, commit {COMMIT}, is not in this clone and cannot be fetched "
            f"({archive.stderr.decode().strip()}): run `git fetch --unshallow`"
        )
    folder.mkdir(parents=True)
    subprocess.run(["tar", "--extract", "--directory", folder], input=archive.stdout, check=True)
    return folder


def _git(clone: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["git", *arguments], cwd=clone, capture_output=True, check=False, timeout=FETCH_SECONDS)
