"""An origin on loopback, an `Egress` that is allowed to reach it, and a clock."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shared.egress import Egress
from shared.errors import ImageError
from tests.origin import Origin

PICTURE = bytes(range(256)) * 400


@pytest.fixture
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture
def egress(origin: Origin) -> Iterator[Egress]:
    egress = Egress([origin.place])
    yield egress
    egress.close()


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def get(egress: Egress, url: str, *, seconds: float = 5.0, max_bytes: int = 1_000_000) -> bytearray:
    [(_, outcome)] = egress.fetch_all([url], deadline_seconds=seconds, max_bytes=max_bytes)
    if isinstance(outcome, bytearray):
        return outcome
    raise outcome or RuntimeError("given up")


def failure(egress: Egress, url: str, *, seconds: float = 5.0, max_bytes: int = 1_000_000) -> ImageError:
    with pytest.raises(ImageError) as caught:
        get(egress, url, seconds=seconds, max_bytes=max_bytes)
    return caught.value
