"""The registry of error codes, read from registry.toml: the only place that explains them."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.http.problems import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """An error code; the texts may have `code` between backticks and [links](/docs/problems/row-errors)."""

    title: str
    happened: str
    to_do: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemType(Explained):
    """What a `type` stands for; `detail` and `more` are those of an example."""

    status: int
    detail: str
    more: Mapping[str, Any] = field(default_factory=dict)


_FOUND = tomllib.loads(Path(__file__).with_name("registry.toml").read_text(encoding="utf-8"))
PROBLEM_TYPES = {code: ProblemType(**entry) for code, entry in _FOUND["problems"].items()}
ROW_ERRORS = {code: Explained(**entry) for code, entry in _FOUND["row_errors"].items()}
IMAGE_ERRORS = {code: Explained(**entry) for code, entry in _FOUND["image_errors"].items()}


def example(code: str, *, status: int | None = None) -> dict[str, Any]:
    """A problem document of this type, made as every answer is; the older contracts have another `status`."""
    known = PROBLEM_TYPES[code]
    return Problem(known.status, code, known.detail, **known.more).document(status=status)
