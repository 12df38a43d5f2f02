"""The API through the gateway, and an image host that the stack may fetch from."""

from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.api import Api
from tests.origin import Origin
from tests.stack import Stack


@pytest.fixture
def api(stack: Stack) -> Iterator[Api]:
    with httpx.Client(base_url=stack.base_url, timeout=30) as http:
        yield Api(http)


@pytest.fixture
def origin(stack: Stack) -> Iterator[Origin]:
    """Also takes webhooks: `origin.posts(path)`."""
    with Origin(port=stack.host_ports[0]) as host:
        yield host
