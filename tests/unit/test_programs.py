import os
from pathlib import Path

import pytest

from tests import programs

EVERYTHING = ("chromium", "node", "npm")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The whole PATH, with nothing in it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def put(folder: Path, name: str, script: str = "") -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_each_program_that_is_missing_is_named_with_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    put(folder, "apt-get", f"touch {folder}/asked")
    assert programs.main(EVERYTHING) == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.split(". ")[0] for line in told] == [f"halftone: There is no {name}" for name in EVERYTHING]
    assert all("Install" in line for line in told)
    assert not (folder / "asked").exists()


def test_a_machine_with_all_of_them_is_told_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = {name: put(folder, name, "echo v20.1.0") for name in ("google-chrome", "node", "npm")}
    assert programs.main(EVERYTHING) == 0
    assert programs.path("chromium") == expected["google-chrome"]
    assert capsys.readouterr() == ("", "")


def test_a_node_that_is_too_old_is_missing(folder: Path) -> None:
    node = put(folder, "node", "echo v18.20.4")
    with pytest.raises(programs.MissingProgram, match=f"{node} is version 18"):
        programs.path("node")


def test_root_installs_what_is_missing_and_nothing_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    put(folder, "node", "echo v22.0.0")
    put(folder, "npm")
    chromium = folder / "chromium"
    put(folder, "apt-get", f'echo "$*" >>{folder}/asked; echo "#!/bin/sh" >{chromium}; PATH=/bin chmod +x {chromium}')
    assert programs.main(EVERYTHING) == 0
    asked = (folder / "asked").read_text().splitlines()
    assert asked == ["-qq update", "-qq install --no-install-recommends --yes chromium"]


def test_what_could_not_be_installed_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    put(folder, "apt-get", "exit 100")
    assert programs.main(["chromium"]) == 1
