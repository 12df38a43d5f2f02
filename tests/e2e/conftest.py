"""The API through the gateway, and an image host that the stack may fetch from."""

from collections.abc import Generator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.api import Client
from tests.given import GivenStack, is_given
from tests.origin import Origin
from tests.stack import Stack

LOG_LINES = 60
SHARED = {"stack", "closed"}
"""Stacks of the session."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """One process runs all that share a stack, which one at a time breaks; files with stacks of their own go apart.

    First, for xdist reads the groups in this hook too.
    """
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            shares = any(name in item.fixturenames and not hasattr(item.module, name) for name in SHARED)
            item.add_marker(pytest.mark.xdist_group("stack" if shares else item.path.stem))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what the stack printed last: where it failed may be gone a minute later."""
    report = yield
    for stack in getattr(item, "funcargs", {}).values() if report.failed else ():
        if isinstance(stack, Stack) and not isinstance(stack, GivenStack):
            report.sections.append(("the stack's log", "".join(stack.log().splitlines(keepends=True)[-LOG_LINES:])))
    return report


@pytest.fixture(scope="session")
def closed(workspace: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    """Everything, with API keys required, generous rates, and all that is ever logged."""
    if is_given():
        yield GivenStack(workspace / "closed")
        return
    rates = {"HALFTONE_CALLS_PER_SECOND": "100000", "HALFTONE_UPLOADS_PER_MINUTE": "100000"}
    env = {"HALFTONE_WORKERS": "1", "HALFTONE_AUTH": "required", "HALFTONE_LOG_LEVEL": "debug", **rates}
    with Stack(workspace / "closed", env=env, like=request.getfixturevalue("cluster")) as stack:
        yield stack


def bearer(stack: Stack) -> dict[str, str]:
    """The header that calls need, if they need one."""
    return {"Authorization": f"Bearer {stack.api_key}"} if stack.api_key else {}


def new_key(stack: Stack, account: str, scopes: str = "read,write") -> str:
    made = stack.command("keys", "create", account, "--scopes", scopes)
    assert made.returncode == 0, made.stderr
    return made.stdout.splitlines()[-1]


@pytest.fixture
def api(stack: Stack) -> Client:
    return Client(stack.base_url, key=stack.api_key)


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    """For calls that the client does not make, and for headers."""
    with httpx.Client(base_url=stack.base_url, headers=bearer(stack), timeout=30) as http:
        yield http


@pytest.fixture
def origin(stack: Stack) -> Iterator[Origin]:
    """Also takes webhooks: `origin.posts(path)`."""
    with Origin(host=stack.host, bind=stack.host, port=stack.host_ports[0]) as host:
        yield host
