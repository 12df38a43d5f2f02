"""Each version reads what the other sends: the messages of the previous release held against ours."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stack import ROOT

Contract = dict[str, Any]
RETIRED: frozenset[str] = frozenset()
"""Messages that the previous release receives and no longer sends, and that are gone now."""
DUMP = """
import json
from pydantic import BaseModel
from shared import messages
kinds = [kind for kind in vars(messages).values() if isinstance(kind, type) and issubclass(kind, BaseModel)]
kinds.remove(BaseModel)
shapes = {}
for kind in kinds:
    schema = kind.model_json_schema(mode="validation")
    shapes |= schema.pop("$defs", {}) | {kind.__name__: schema}
print(json.dumps({"queues": {one.actor: one.queue for one in messages.all_messages()}, "shapes": shapes}))
"""


def contract_of(code: Path) -> Contract:
    """The actors with their queues, and every shape that is sent, as JSON schemas."""
    done = subprocess.run([sys.executable, "-c", DUMP], cwd=code, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def misunderstandings(old: Contract, new: Contract) -> Iterator[str]:
    """What one of two versions could not read or would lose of the other's messages."""
    for actor in old["queues"].keys() - new["queues"].keys() - RETIRED:
        yield f"{actor} is received by nobody, and the previous release sends it: it lives for one release more"
    for actor, queue in new["queues"].items():
        if actor not in old["queues"] and queue in old["queues"].values():
            yield f"{actor} is new, and older processes take it from the queue {queue} and drop it: give it a new one"
        elif old["queues"].get(actor, queue) != queue:
            yield f"{actor} has another queue, to which older processes neither send nor listen"
    for name in old["shapes"].keys() & new["shapes"].keys():
        yield from (f"{name}{reason}" for reason in _of_shape(old["shapes"][name], new["shapes"][name]))


def _of_shape(old: Contract, new: Contract) -> Iterator[str]:
    theirs, ours = old.get("properties", {}), new.get("properties", {})
    for field in theirs.keys() & ours.keys():
        if _without_words(theirs[field]) != _without_words(ours[field]):
            yield f".{field} has another type: make a new field, or a new message"
    for field in ours.keys() - theirs.keys():
        if field in new.get("required", ()):
            yield f".{field} is new and has no default: the previous release does not send it"
    for field in theirs.keys() - ours.keys():
        if field in old.get("required", ()):
            yield f".{field} is gone, and the previous release does not read a message without it"
    if more := set(new.get("enum", ())) - set(old.get("enum", ())):
        yield f" has new values, which the previous release refuses: {sorted(more)}; send them a release later"


def _without_words(schema: Contract) -> Contract:
    return {name: value for name, value in schema.items() if name not in {"default", "description", "title"}}


@pytest.fixture(scope="module")
def theirs(previous: Path) -> Contract:
    return contract_of(previous)


def test_both_versions_understand_each_other(theirs: Contract) -> None:
    assert list(misunderstandings(theirs, contract_of(ROOT))) == []


def _shape(name: str, **changes: Any) -> Callable[[Contract], None]:
    return lambda contract: contract["shapes"][name].update(changes)


def _field(name: str, field: str, schema: Contract | None) -> Callable[[Contract], None]:
    def change(contract: Contract) -> None:
        contract["shapes"][name]["properties"].pop(field, None)
        if schema is not None:
            contract["shapes"][name]["properties"][field] = schema

    return change


def _queue(actor: str, queue: str | None) -> Callable[[Contract], None]:
    def change(contract: Contract) -> None:
        contract["queues"].pop(actor, None)
        if queue is not None:
            contract["queues"][actor] = queue

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_queue("worker.fetch_batch", None), "worker.fetch_batch is received by nobody"),
        (_queue("worker.fetch_batch.v2", "fetch"), "older processes take it from the queue fetch"),
        (_queue("worker.fetch_batch", "fetch_v2"), "worker.fetch_batch has another queue"),
        (_field("ImageRef", "url", {"type": "integer"}), "ImageRef.url has another type"),
        (_field("ImageRef", "url", None), "ImageRef.url is gone"),
        (_shape("ImageRef", properties={"later": {}}, required=["later"]), "ImageRef.later is new and has no default"),
        (_shape("TargetFormat", enum=["jxl"]), "TargetFormat has new values"),
    ],
)
def test_what_would_be_lost_between_two_versions_is_found(
    theirs: Contract, change: Callable[[Contract], None], reason: str
) -> None:
    ours = copy.deepcopy(theirs)
    change(ours)
    assert any(reason in found for found in misunderstandings(theirs, ours))


@pytest.mark.parametrize(
    "change",
    [_queue("worker.fetch_batch.v2", "fetch_v2"), _field("FetchedImage", "traceparent", {"type": "string"})],
    ids=["an actor with a queue of its own", "a field with a default"],
)
def test_what_expands_is_fine(theirs: Contract, change: Callable[[Contract], None]) -> None:
    ours = copy.deepcopy(theirs)
    change(ours)
    assert list(misunderstandings(theirs, ours)) == []
