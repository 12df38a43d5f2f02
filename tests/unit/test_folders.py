"""Tests leave nothing outside the project."""

import subprocess
import sys
from pathlib import Path

from tests.stack import FOLDER


def test_temporary_paths_are_below_the_project(tmp_path: Path) -> None:
    assert tmp_path.is_relative_to(FOLDER)


def test_what_else_children_leave_is_in_a_folder_of_this_session() -> None:
    shown = subprocess.check_output([sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"], text=True)
    assert any(part.startswith("halftone-") for part in Path(shown).parts)
