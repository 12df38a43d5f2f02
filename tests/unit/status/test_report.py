from datetime import timedelta

import pytest

from services.status.report import STEPS, intervals, savings, throughput
from services.status.views import report_tag
from shared.ids import uuid7
from shared.schemas.report_api import MAX_POINTS
from tests.unit.status.rows import NOW, request_row


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def test_a_run_that_has_not_started_has_no_interval() -> None:
    assert intervals(request_row(started_at=None), NOW) == (1, 0)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (0, (1, 1)),
        (119.9, (1, 120)),
        (120, (2, 61)),
        (599, (5, 120)),
        (20_000, (300, 67)),
        (86_400, (900, 97)),
        (432_000, (7200, 61)),
        (30 * 86_400, (7 * 3600, 103)),
        (-5, (1, 1)),
    ],
)
def test_intervals_are_the_shortest_of_which_the_run_has_few_enough(run: float, expected: tuple[int, int]) -> None:
    assert intervals(request_row(started_at=NOW), NOW + seconds(run)) == expected


@pytest.mark.parametrize("run", [*(MAX_POINTS * step + extra for step in STEPS for extra in (-1, 0, 1)), 10**7])
def test_a_run_of_any_length_has_at_most_as_many_points_as_are_shown(run: int) -> None:
    interval, count = intervals(request_row(started_at=NOW), NOW + seconds(run))
    assert count <= MAX_POINTS
    assert (count - 1) * interval <= run < count * interval


def test_the_intervals_of_a_run_end_with_it() -> None:
    ended = request_row(started_at=NOW, finished_at=NOW + seconds(10))
    assert intervals(ended, NOW + seconds(1000)) == (1, 11)


def test_every_range_of_savings_is_listed_and_they_meet() -> None:
    ranges = savings({"0": 3, "19": 2})
    assert [one.images for one in ranges] == [3, *[0] * 18, 2]
    assert [one.from_ for one in ranges[1:]] == [one.to for one in ranges[:-1]]
    assert (ranges[0].from_, ranges[3].from_, ranges[-1].to) == (0, 0.15, 1)


def test_an_interval_without_images_is_there_too() -> None:
    found = throughput(NOW, 5, 3, [{"n": 2, "completed": 4, "failed": 1}])
    assert [(one.at, one.completed, one.failed) for one in found.points] == [
        (NOW, 0, 0),
        (NOW + seconds(5), 0, 0),
        (NOW + seconds(10), 4, 1),
    ]
    assert throughput(None, 1, 0, []).points == []


def test_only_the_report_of_a_run_that_has_ended_has_a_tag() -> None:
    request_id = uuid7()
    assert report_tag(request_id, 1, "processing") is None
    tags = {report_tag(request_id, run, status) for run in (1, 2) for status in ("completed", "cancelled")}
    assert len(tags) == 4
    assert None not in tags
