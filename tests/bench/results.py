"""The measured figures, in one JSON outside of git: a figure that is measured again replaces only itself."""

import json
from pathlib import Path
from typing import Any

from tests.stack import FOLDER

FILE = FOLDER / "bench" / "results.json"
Result = dict[str, Any]


def load(path: Path = FILE) -> dict[str, Result]:
    """Each figure: `data` or `failed`, with the machine, the seconds it took, and whether it was only a quick one."""
    return dict(json.loads(path.read_text())) if path.exists() else {}


def merge(name: str, result: Result, path: Path = FILE) -> dict[str, Result]:
    """Keep the result of one figure, and return all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    everything = load(path) | {name: result}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(everything, indent=1))
    fresh.rename(path)
    return everything
