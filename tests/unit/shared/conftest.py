from collections.abc import Iterator

import pytest

from shared.egress import Egress
from tests.origin import Origin
from tests.unit.shared.egress_case import door_to


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture
def egress(origin: Origin) -> Iterator[Egress]:
    egress = door_to(origin)
    yield egress
    egress.close()
