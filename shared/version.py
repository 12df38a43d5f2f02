"""The version of Halftone. It is written once, in pyproject.toml, which the images have too."""

import tomllib
from pathlib import Path

VERSION: str = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["version"]
