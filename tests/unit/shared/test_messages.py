from typing import Any
from uuid import UUID

import pytest

from shared.ids import uuid7
from shared.messages import FetchBatch, Fetched, FetchedImage, ImageRef, Message, all_messages
from shared.recipe import Mode, Recipe, TargetFormat

VALUES = {
    "request_id": UUID("01890000-0000-7000-8000-000000000001"),
    "group": 3,
    "dispatch_no": 2,
    "run": 1,
    "claim": uuid7(),
    "takes_over": uuid7(),
    "recipe": Recipe(quality=40, mode=Mode.BYTES, format=TargetFormat.AVIF, max_side=100),
    "images": (ImageRef(number=257, url="https://images.example/ü.jpg"),),
    "delivery_id": uuid7(),
}
EXAMPLES = [kind.model_validate(VALUES) for kind in all_messages()]
EXAMPLES.append(FetchBatch.model_validate(VALUES | {"takes_over": None}))

each_message = pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)


@each_message
def test_a_message_survives_the_journey_as_json(message: Message) -> None:
    assert type(message).model_validate(message.model_dump(mode="json")) == message
    assert type(message).model_validate_json(message.model_dump_json()) == message


@each_message
def test_a_field_that_the_receiver_does_not_know_is_ignored(message: Message) -> None:
    assert type(message).model_validate(_with_more(message.model_dump(mode="json"))) == message


def _with_more(value: Any) -> Any:
    """A field more in every object within."""
    if isinstance(value, dict):
        return {name: _with_more(inner) for name, inner in value.items()} | {"added_later": 1}
    return [_with_more(inner) for inner in value] if isinstance(value, list) else value


def test_the_result_of_fetching_survives_the_journey_empty_too() -> None:
    fetched = Fetched(images=(FetchedImage(number=257, bytes=1000, sha256="a" * 64),))
    for result in (fetched, Fetched()):
        assert Fetched.model_validate(result.model_dump(mode="json")) == result
