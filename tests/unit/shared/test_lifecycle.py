import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.lifecycle import (
    IMAGES_PER_BATCH,
    IMAGES_PER_GROUP,
    WINDOW,
    Outcome,
    RequestStatus,
    StopReason,
    final_status,
    group_of,
    images_of,
    outcome,
)


@given(st.integers(1, 2_000_000))
def test_an_image_is_in_the_group_whose_span_holds_it(image: int) -> None:
    first, last = images_of(group_of(image))
    assert first <= image <= last


def test_groups_follow_each_other_without_a_gap() -> None:
    assert (images_of(1), images_of(2)) == ((1, 128), (129, 256))


def test_a_window_holds_whole_groups_and_a_group_whole_batches() -> None:
    assert WINDOW % IMAGES_PER_GROUP == IMAGES_PER_GROUP % IMAGES_PER_BATCH == 0


def test_three_states_are_terminal() -> None:
    assert {status for status in RequestStatus if status.terminal} == {"completed", "failed", "cancelled"}


@pytest.mark.parametrize(
    ("stop", "completed", "status"),
    [
        (None, 3, RequestStatus.COMPLETED),
        (None, 0, RequestStatus.FAILED),
        (StopReason.EXPIRED, 1, RequestStatus.COMPLETED),
        (StopReason.EXPIRED, 0, RequestStatus.FAILED),
        (StopReason.CANCELLED, 3, RequestStatus.CANCELLED),
        (StopReason.CANCELLED, 0, RequestStatus.CANCELLED),
    ],
)
def test_a_finished_request_is_completed_if_it_has_a_rendition(
    stop: StopReason | None, completed: int, status: RequestStatus
) -> None:
    assert final_status(stop=stop, completed=completed) is status


@pytest.mark.parametrize(
    ("status", "completed", "failed", "result"),
    [
        (RequestStatus.PENDING, 0, 0, None),
        (RequestStatus.PROCESSING, 5, 5, None),
        (RequestStatus.COMPLETED, 5, 0, Outcome.SUCCESS),
        (RequestStatus.COMPLETED, 5, 1, Outcome.PARTIAL),
        (RequestStatus.FAILED, 0, 5, Outcome.NONE),
        (RequestStatus.CANCELLED, 5, 0, Outcome.PARTIAL),
        (RequestStatus.CANCELLED, 0, 0, Outcome.NONE),
    ],
)
def test_the_outcome_is_known_once_the_request_is_terminal(
    status: RequestStatus, completed: int, failed: int, result: Outcome | None
) -> None:
    assert outcome(status, completed=completed, failed=failed) is result
