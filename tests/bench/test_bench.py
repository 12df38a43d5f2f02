"""What all figures share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.bench import bench as module
from tests.bench.bench import Bench
from tests.bench.figures import huge


def test_files_of_one_figure_are_not_removed_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Making files is slow for a minute where many were removed, and would be counted against the next figure."""

    @contextmanager
    def running(folder: Path, *_: Any, **__: Any) -> Iterator[None]:
        folder.mkdir()
        yield

    monkeypatch.setattr(module, "running", running)
    bench = Bench(folder=tmp_path, pictures=tmp_path, origin=None)  # type: ignore[arg-type]
    with bench.stack("one"):
        pass
    assert (tmp_path / "one").exists()


def test_neither_of_two_requests_is_always_asked_first() -> None:
    asked: list[str] = []

    class Api:
        def request(self, request_id: str) -> dict[str, Any]:
            asked.append(request_id)
            return {"status": "processing", "images": {"completed": 0, "failed": 0}}

    huge._gets(Bench(folder=Path(), pictures=Path(), origin=None, quick=True), Api(), "large", "small")  # type: ignore[arg-type]
    firsts = asked[:80:2]
    assert firsts.count("large") == firsts.count("small") == 20
