from uuid import UUID

import pytest

from shared.ids import uuid7
from shared.messages import (
    CompressBatch,
    CompressIsolatedBatch,
    Deliver,
    DispatchGroup,
    DispatchRequest,
    FetchBatch,
    Fetched,
    FetchedImage,
    FetchIsolatedBatch,
    FetchSlowBatch,
    GroupDone,
    ImageRef,
    Message,
    all_messages,
)
from shared.recipe import Mode, Recipe, TargetFormat

ID = UUID("01890000-0000-7000-8000-000000000001")
BATCH = {
    "request_id": ID,
    "group": 3,
    "dispatch_no": 2,
    "run": 1,
    "claim": uuid7(),
    "takes_over": None,
    "recipe": Recipe(quality=40, mode=Mode.BYTES, format=TargetFormat.AVIF, max_side=100),
}
IMAGES = (ImageRef(number=257, url="https://images.example/ü.jpg"),)
EXAMPLES: list[Message] = [
    DispatchRequest(request_id=ID),
    DispatchGroup(request_id=ID, group=3, dispatch_no=2),
    FetchBatch.model_validate(BATCH | {"images": IMAGES}),
    FetchSlowBatch.model_validate(BATCH | {"images": IMAGES, "takes_over": uuid7()}),
    FetchIsolatedBatch.model_validate(BATCH | {"images": IMAGES}),
    CompressBatch.model_validate(BATCH | {"takes_over": uuid7()}),
    CompressIsolatedBatch.model_validate(BATCH | {"takes_over": uuid7()}),
    GroupDone(request_id=ID, group=3, dispatch_no=2),
    Deliver(delivery_id=ID),
]

each_message = pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)


def test_there_is_an_example_of_every_message() -> None:
    assert [type(message) for message in EXAMPLES] == list(all_messages())


@each_message
def test_a_message_survives_the_journey_as_json(message: Message) -> None:
    assert type(message).model_validate(message.model_dump(mode="json")) == message
    assert type(message).model_validate_json(message.model_dump_json()) == message


@each_message
def test_a_field_that_the_receiver_does_not_know_is_ignored(message: Message) -> None:
    assert type(message).model_validate(message.model_dump(mode="json") | {"added_later": 1}) == message


def test_no_two_messages_share_an_actor() -> None:
    actors = [message.actor for message in all_messages()]
    assert len(set(actors)) == len(actors)


def test_the_result_of_fetching_survives_the_journey_empty_too() -> None:
    fetched = Fetched(images=(FetchedImage(number=257, bytes=1000, sha256="a" * 64),))
    for result in (fetched, Fetched()):
        assert Fetched.model_validate(result.model_dump(mode="json")) == result
