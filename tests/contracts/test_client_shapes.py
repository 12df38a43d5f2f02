"""The client is typed by hand, because it has none of the server's packages; its shapes are the API's."""

from typing import get_args

import pytest
from pydantic import BaseModel

from halftone_client import shapes
from services.status.images import ImageOrder
from shared.lifecycle import ImageState, RequestStatus
from shared.schemas import accounts_api, api, deliveries_api

NOT_IN_THE_API = {"Options"}  # of an upload; the API's is the client's Recipe
MODELS = {
    name: model
    for module in (api, deliveries_api, accounts_api)
    for name, model in vars(module).items()
    if isinstance(model, type) and issubclass(model, BaseModel)
} | {"Recipe": api.Options, "Request": api.Accepted}
SHAPES = {
    name: shape
    for name, shape in vars(shapes).items()
    if hasattr(shape, "__required_keys__") and name in shape.__name__
}


@pytest.mark.parametrize("name", sorted(SHAPES.keys() - NOT_IN_THE_API))
def test_a_shape_has_the_fields_of_the_api(name: str) -> None:
    shape, fields = SHAPES[name], {field.alias or found for found, field in MODELS[name].model_fields.items()}
    assert shape.__required_keys__ <= fields
    assert fields <= shape.__required_keys__ | shape.__optional_keys__


def test_the_states_and_orders_are_those_of_the_api() -> None:
    assert set(get_args(shapes.Status)) == set(RequestStatus)
    assert set(get_args(shapes.ImageStatus)) == set(ImageState)
    assert set(get_args(shapes.Sort)) == set(ImageOrder)
