from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from deploy.demo import catalogue
from deploy.demo.checks import Rendition, Seen, check_all


def failures(seen: Seen, **changes: Any) -> list[str]:
    return [check.failure for check in check_all(replace(seen, **changes)) if check.failure is not None]


def test_a_run_that_kept_every_promise_fails_no_check(seen: Seen) -> None:
    assert failures(seen) == []


def test_an_outcome_without_a_failure_is_not_what_was_promised(seen: Seen) -> None:
    assert failures(seen, request={**seen.request, "outcome": "success"}) == ["it is completed, with outcome success"]


@pytest.mark.parametrize(
    "broken",
    [
        Rendition(bytes=400, pixels=None),
        Rendition(bytes=400, pixels=(1, 1)),
        Rendition(bytes=1000, pixels=catalogue.size_of("throw.jpg")),
    ],
    ids=["does not decode", "has another size", "is not smaller"],
)
def test_one_bad_rendition_fails_exactly_one_check(seen: Seen, broken: Rendition) -> None:
    (found,) = failures(seen, renditions={**seen.renditions, "throw.jpg": broken})
    assert "throw.jpg" in found


def test_a_rendition_that_was_not_downloaded_is_reported(seen: Seen) -> None:
    kept = {name: rendition for name, rendition in seen.renditions.items() if name != "throw.jpg"}
    assert failures(seen, renditions=kept) == ["throw.jpg is completed: None"]


@pytest.mark.parametrize(
    ("change", "failure"),
    [
        (lambda header, first, second, *rest: [header, second, first, *rest], "row 1 is "),
        (lambda *lines: lines[:-1], "it has 10 lines, not 11"),
        (lambda *lines: [line.replace(",,", ",") for line in lines], "row 3 is "),
    ],
    ids=["another order", "a lost row", "an empty place that was closed up"],
)
def test_a_wrong_output_csv_is_reported(seen: Seen, change: Callable[..., Sequence[str]], failure: str) -> None:
    (found,) = failures(seen, output_csv="".join(change(*seen.output_csv.splitlines(keepends=True))))
    assert found.startswith(failure)


@pytest.mark.parametrize("times", [0, 2])
def test_a_webhook_arrives_exactly_once(seen: Seen, times: int) -> None:
    assert f"{times} arrived" in failures(seen, arrivals=list(seen.arrivals) * times)


def test_a_webhook_before_the_terminal_state_is_reported(seen: Seen) -> None:
    early = [replace(seen.arrivals[0], shown={"status": "processing"})]
    assert failures(seen, arrivals=early) == ["it showed ['processing']"]


def test_a_second_attempt_is_reported(seen: Seen) -> None:
    assert len(failures(seen, deliveries=[{"status": "delivered", "attempts": [{}, {}]}])) == 1
