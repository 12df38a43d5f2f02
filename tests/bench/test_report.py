"""The page says what was measured, what failed and what was not measured, and never invents a figure."""

from pathlib import Path
from typing import Any

from tests.bench import report, results
from tests.bench.samples import ratios, summary, within
from tests.bench.targets import ROWS

MACHINE = {"date": "2026-01-01 00:00 UTC", "commit": "abc1234", "cores": 2, "cpu": "a CPU", "load": 0.1}
SIZES = {
    str(images): {
        "rate": summary([rate, rate + 10, rate + 20]),
        "peak_rss": {"worker": 100_000_000, "ingest": 90_000_000},
    }
    for images, rate in ((1_000, 300.0), (100_000, 390.0))
}


def measured(data: dict[str, Any], *, quick: bool = False) -> dict[str, Any]:
    return {"data": data, "machine": MACHINE, "quick": quick, "seconds": 1.0}


def test_without_results_each_figure_says_so(tmp_path: Path) -> None:
    page = report.write({}, tmp_path).read_text()
    assert page.count("Not measured yet") == len(report.SECTIONS) + 1
    assert page.count("not measured |") == len(ROWS)


def test_a_figure_that_failed_says_why_and_leaves_the_others(tmp_path: Path) -> None:
    failed = {"failed": "AssertionError: not within 60 s", "machine": MACHINE, "quick": False, "seconds": 60.0}
    page = report.write({"idle": failed, "size": measured({"sizes": SIZES})}, tmp_path).read_text()
    assert "failed: AssertionError: not within 60 s" in page
    assert "| 100,000 | 400 (390..410)/s | 3 |" in page
    assert "| 1.29 / 1.00 | met / met |" in page


def test_a_quick_run_is_named_as_one(tmp_path: Path) -> None:
    page = report.write({"size": measured({"sizes": SIZES}, quick=True)}, tmp_path).read_text()
    assert "Only a quick run: size" in page
    assert "| 1.29 / 1.00 | quick |" in page


def test_the_notes_kept_by_hand_are_copied(tmp_path: Path) -> None:
    assert report.write({}, tmp_path).read_text().endswith(report.NOTES.read_text())


def test_the_same_results_give_the_same_page_and_plots(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        report.write({"size": measured({"sizes": SIZES})}, tmp_path / name)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.*")} for name in ("one", "two"))
    assert one == two
    assert {"performance.md", "throughput-over-size.svg", "memory-over-size.svg"} == set(one)


def test_a_figure_measured_again_replaces_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "results.json"
    results.merge("size", {"data": 1}, path)
    results.merge("idle", {"failed": "x"}, path)
    results.merge("size", {"data": 2}, path)
    assert results.load(path) == {"size": {"data": 2}, "idle": {"failed": "x"}}


def test_a_ratio_is_that_of_the_medians_with_the_spread_of_the_pairs() -> None:
    found = ratios([10.0, 20.0, 40.0], [10.0, 10.0, 10.0])
    assert (found["median"], found["min"], found["max"]) == (2.0, 1.0, 4.0)


def test_no_round_begins_that_would_exceed_the_budget() -> None:
    assert list(within(0, most=5)) == [0]
    assert list(within(60, most=3)) == [0, 1, 2]
