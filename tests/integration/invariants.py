"""The rules that hold for every request at every moment, whatever was lost, doubled, late or killed."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString
from uuid import UUID

from shared import lifecycle
from shared.db import Database
from shared.lifecycle import RequestStatus
from tests.integration.seed import Row, sql

STATES = ("completed", "failed", "cancelled")
BYTES = ("source_bytes", "rendition_bytes")
Problem = tuple[str, str]
"""The name of a rule, and what breaks it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All rows of some requests; a request's `event_runs` are the runs that have an event."""

    requests: list[Row]
    groups: list[Row]
    images: list[Row]

    @classmethod
    def read(cls, query: Callable[..., list[Row]], ids: Sequence[str] | None = None) -> "Snapshot":
        """Of these requests, or of all; `query` is a statement's rows, given its parameters by name."""
        requests, groups, images = (query(statement, ids=ids) for statement in (_REQUESTS, _GROUPS, _IMAGES))
        runs = {request["id"]: request["run"] for request in requests}
        return cls(requests, groups, [_as_of(runs.get(image["request_id"]), image) for image in images])

    def problems(self) -> Iterator[Problem]:
        for image in self.images:
            yield from _image_problems(image)
        for request in self.requests:
            groups = [group for group in self.groups if group["request_id"] == request["id"]]
            images = [image for image in self.images if image["request_id"] == request["id"]]
            for group in groups:
                first, last = lifecycle.images_of(group["number"])
                yield from _group_problems(group, [image for image in images if first <= image["number"] <= last])
            yield from _request_problems(request, groups, images)


@dataclass(slots=True)
class Invariants:
    """Remembers the previous check: what is settled stays settled until the run grows."""

    database: Database
    _images: dict[tuple[UUID, int], Row] = field(default_factory=dict)
    _requests: dict[UUID, Row] = field(default_factory=dict)

    def check(self) -> None:
        now = Snapshot.read(lambda statement, **params: sql(self.database, statement, **params))
        assert list(now.problems()) == []
        for image in now.images:
            before = self._images.get((image["request_id"], image["number"]), image)
            if before["state"] != "pending" and before["run"] == image["run"]:
                assert (image["state"], image["error_code"]) == (before["state"], before["error_code"])
        for request in now.requests:
            before = self._requests.get(request["id"], request)
            settled = Counter(image["request_id"] for image in now.images if image["state"] != "pending")
            request["settled"] = settled[request["id"]]
            if before["run"] == request["run"]:
                assert request["settled"] >= before["settled"]
                assert request["status"] == before["status"] or not RequestStatus(before["status"]).terminal
        self._images |= {(image["request_id"], image["number"]): image for image in now.images}
        self._requests |= {request["id"]: request for request in now.requests}


def _as_of(run: int | None, image: Row) -> Row:
    """The image as it counts in the request's run: `retry` leaves it to dispatch to write it."""
    if run is None or image["run"] >= run or image["state"] not in {"failed", "cancelled"}:
        return image
    return image | {"state": "pending", "run": run, "attempts": 0, "error_code": None}


def _image_problems(image: Row) -> Iterator[Problem]:
    what = f"image {image['number']} of {image['request_id']}"
    if not 0 <= image["attempts"] <= lifecycle.MAX_ATTEMPTS:
        yield "attempts_are_bounded", f"{what}: {image['attempts']} attempts"
    if image["state"] != "pending" and image["claimed_by"] is not None:
        yield "settled_images_are_unclaimed", what


def _group_problems(group: Row, images: list[Row]) -> Iterator[Problem]:
    what, counted = f"group {group['number']} of {group['request_id']}", _counted(images)
    if {name: group[name] for name in counted} != counted:
        yield "counters_are_the_images", f"{what}: images are {counted}, counted {group}"
    pending = group["images"] - sum(group[state] for state in STATES)
    if group["in_flight"] < 0 or (group["state"] == "settled" and (pending or group["in_flight"])):
        yield "settled_groups_are_done", f"{what}: {pending} images pending, {group['in_flight']} in flight"
    if group["state"] != "waiting" and (group["state"] == "dispatched") != (group["reconcile_at"] is not None):
        yield "dispatched_groups_are_reconciled", f"{what}: {group['state']}, reconciled at {group['reconcile_at']}"


def _request_problems(request: Row, groups: list[Row], images: list[Row]) -> Iterator[Problem]:
    what, status = str(request["id"]), RequestStatus(request["status"])
    settled = [group for group in groups if group["state"] == "settled"]
    reopened = [group for group in groups if group["state"] != "settled" and group["dispatch_no"] < 0]
    counted: dict[str, Any] = {name: sum(group[name] for group in settled + reopened) for name in (*STATES, *BYTES)}
    counted |= {"images": len(images), "open_groups": len(groups) - len(settled)}
    if {name: request[name] for name in counted} != counted:
        yield "counters_are_the_images", f"{what}: settled and reopened groups have {counted}, counted {request}"
    if not status.terminal == (request["finished_at"] is not None) == (request["open_groups"] == 0):
        yield "finished_is_settled", f"{what}: {status}, {request['finished_at']}, {request['open_groups']} open groups"
    wanted = "cancelled" if request["stop_reason"] == "cancelled" else "completed" if request["completed"] else "failed"
    if status.terminal and status != wanted:
        yield "status_follows_the_images", f"{what} is {status} instead of {wanted}"
    waits = any(group["state"] == "waiting" for group in groups)
    if waits and request["stop_reason"] is None and request["dispatch_at"] is None:
        yield "waiting_groups_have_a_timer", what
    if any(image["run"] != request["run"] for image in images if image["state"] == "pending"):
        yield "pending_images_are_of_the_run", what
    runs = request["run"] if status.terminal else request["run"] - 1
    if request["event_runs"] != list(range(1, runs + 1)):
        yield "one_event_for_each_run", f"{what}, {status} in run {request['run']}: {request['event_runs']}"


def _counted(images: list[Row]) -> dict[str, Any]:
    done = [image for image in images if image["state"] == "completed"]
    states = Counter(image["state"] for image in images)
    return {
        "images": len(images),
        **{state: states[state] for state in STATES},
        **{name: sum(image[name] for image in done) for name in BYTES},
    }


_REQUESTS: LiteralString = """
SELECT r.*, ARRAY(SELECT e.run FROM event e WHERE e.request_id = r.id ORDER BY e.run) AS event_runs
FROM processing_request r WHERE %(ids)s::uuid[] IS NULL OR id = ANY(%(ids)s::uuid[])
"""
_GROUPS: LiteralString = "SELECT * FROM image_group WHERE %(ids)s::uuid[] IS NULL OR request_id = ANY(%(ids)s::uuid[])"
_IMAGES: LiteralString = "SELECT * FROM image WHERE %(ids)s::uuid[] IS NULL OR request_id = ANY(%(ids)s::uuid[])"
