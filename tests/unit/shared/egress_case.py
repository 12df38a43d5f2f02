"""What the egress tests share: an origin, a door that lets its address through, and a clock."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shared.egress import Egress, Fetched
from shared.errors import ImageError
from tests.origin import Origin


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def get(egress: Egress, url: str, *, seconds: float = 5.0, max_bytes: int = 1_000_000) -> Fetched:
    return egress.fetch(url, deadline_seconds=seconds, max_bytes=max_bytes)


def failure(egress: Egress, url: str, *, seconds: float = 5.0, max_bytes: int = 1_000_000) -> ImageError:
    with pytest.raises(ImageError) as caught:
        get(egress, url, seconds=seconds, max_bytes=max_bytes)
    return caught.value


def door_to(origin: Origin) -> Egress:
    return Egress([origin.place])
