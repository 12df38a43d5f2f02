"""What must hold for every request at every moment, whatever was lost, doubled, late or killed."""

from collections import Counter
from typing import Any
from uuid import UUID

from shared import lifecycle
from shared.db import Database
from shared.lifecycle import RequestStatus
from tests.integration.seed import Row, sql

STATES = ("completed", "failed", "cancelled")


class Invariants:
    """Remembers the previous check: a settled image must stay settled until the run grows."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._images: dict[tuple[UUID, int], Row] = {}
        self._requests: dict[UUID, Row] = {}

    def check(self) -> None:
        images = sql(self._database, "SELECT * FROM image")
        groups = sql(self._database, "SELECT * FROM image_group")
        requests = sql(
            self._database,
            """
            SELECT r.*, (SELECT array_agg(e.run ORDER BY e.run) FROM event e WHERE e.request_id = r.id) AS event_runs
            FROM processing_request r
            """,
        )
        for image in images:
            self._check_image(image)
        for group in groups:
            first, last = lifecycle.images_of(group["number"])
            own = [i for i in images if i["request_id"] == group["request_id"] and first <= i["number"] <= last]
            _check_group(group, own)
        for request in requests:
            self._check_request(
                request,
                [group for group in groups if group["request_id"] == request["id"]],
                [image for image in images if image["request_id"] == request["id"]],
            )

    def _check_image(self, image: Row) -> None:
        assert 0 <= image["attempts"] <= lifecycle.MAX_ATTEMPTS
        assert image["state"] == "pending" or image["claimed_by"] is None
        key = (image["request_id"], image["number"])
        before = self._images.get(key)
        if before and before["state"] != "pending" and before["run"] == image["run"]:
            assert image["state"] == before["state"]
            assert image["error_code"] == before["error_code"]
        self._images[key] = image

    def _check_request(self, request: Row, groups: list[Row], images: list[Row]) -> None:
        status = RequestStatus(request["status"])
        counted = _counted(images)
        for state in STATES:
            settled = sum(group[state] for group in groups if group["state"] == "settled")
            assert request[state] == settled
            assert settled + sum(group[state] for group in groups if group["state"] != "settled") == counted[state]
        assert request["open_groups"] == sum(group["state"] != "settled" for group in groups)
        all_settled = request["open_groups"] == 0
        assert status.terminal == (request["finished_at"] is not None) == all_settled
        assert all(image["run"] == request["run"] for image in images if image["state"] == "pending")
        runs = request["run"] if status.terminal else request["run"] - 1
        assert (request["event_runs"] or []) == list(range(1, runs + 1))
        self._check_against_before(request, counted)

    def _check_against_before(self, request: Row, counted: Counter[str]) -> None:
        before = self._requests.get(request["id"])
        request["counted"] = sum(counted[state] for state in STATES)
        if before and before["run"] == request["run"]:
            assert request["counted"] >= before["counted"]
            assert request["status"] == before["status"] or not RequestStatus(before["status"]).terminal
        self._requests[request["id"]] = request


def _check_group(group: Row, images: list[Row]) -> None:
    counted = _counted(images)
    assert {state: group[state] for state in STATES} == {state: counted[state] for state in STATES}
    assert group["images"] == len(images)
    assert group["source_bytes"] == _sum(images, "source_bytes")
    assert group["rendition_bytes"] == _sum(images, "rendition_bytes")
    assert group["in_flight"] >= 0
    if group["state"] == "settled":
        assert (counted["pending"], group["in_flight"], group["reconcile_at"]) == (0, 0, None)
    if group["state"] == "dispatched":
        assert group["reconcile_at"] is not None


def _counted(images: list[Row]) -> Counter[str]:
    return Counter(image["state"] for image in images)


def _sum(images: list[Row], column: str) -> Any:
    return sum(image[column] for image in images if image["state"] == "completed")
