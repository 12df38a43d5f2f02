"""Executed in an image, as root, who sees all files: prints what there is of packages, tools, left-overs and code.

Imports the standard library alone: an image has no tests.
"""

import json
import os
import re
import shutil
from importlib.metadata import distributions
from pathlib import Path

BILL = Path("/usr/share/sbom/halftone.cdx.json")
PATH = f"{os.environ['PATH']}:/usr/local/bin:/usr/bin:/usr/sbin"
TOOLS = "cc c++ gcc g++ clang tcc rustc cargo go ld as make cmake pip pip3 uv pipx poetry conda npm git"
LEFT_OVERS = (
    "root/.cache",
    "tmp/*",
    "var/cache/apt/*.bin",
    "var/cache/apt/archives/*.deb",
    "var/lib/apt/lists/*",
    "usr/**/pip-*.whl",
    "usr/**/site-packages/pip",
    "usr/**/dist-packages/pip",
    "venv/**/*.pyc",
)


def contents() -> dict[str, object]:
    """As JSON can hold it."""
    bill = json.loads(BILL.read_text())
    return {
        "packages": {_name(found.name): found.version for found in distributions()},
        "bill": {_name(component["name"]): component["version"] for component in bill["components"]},
        "version": bill["metadata"]["component"]["version"],
        "tools": [tool for tool in TOOLS.split() if shutil.which(tool, path=PATH)],
        "left over": [str(path) for pattern in LEFT_OVERS for path in Path("/").glob(pattern)],
        "services": [path.name for path in Path("/app").glob("services/*/")],
        "app": sorted(path.name for path in Path("/app").iterdir()),
    }


def _name(text: str) -> str:
    return re.sub("[-_.]+", "-", text).lower()


if __name__ == "__main__":
    print(json.dumps(contents()))
