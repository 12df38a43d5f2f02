"""A real stack, an image host with real pictures, and tabs of the system's Chromium that forgive nothing."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests import programs
from tests.api import Client
from tests.browser.shop import Shop
from tests.browser.tab import Tab
from tests.origin import Origin
from tests.stack import FOLDER, Stack

SCREENSHOTS = FOLDER / "browser"
# They keep it from asking Google's hosts at every start. Playwright adds --no-sandbox, without which neither root nor a
# container could start it; it shows our own page only.
FLAGS = [
    *("--disable-dev-shm-usage", "--disable-gpu", "--disable-quic", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--no-first-run"),
]

TIMEOUT = 20_000  # milliseconds that the page and the service behind it have for whatever is awaited

Open = Callable[..., Tab]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The system's Chromium, which keeps what it stores of its user in a folder of the test's."""
    home = str(tmp_path_factory.mktemp("home"))
    expect.set_options(timeout=TIMEOUT)
    env = {**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=programs.path("chromium"), args=FLAGS, env=dict(env))
        yield browser
        browser.close()


@pytest.fixture
def origin(stack: Stack) -> Iterator[Origin]:
    """Also takes webhooks: `origin.posts(path)`."""
    with Origin(port=stack.host_ports[0]) as host:
        yield host


@pytest.fixture
def shop(origin: Origin) -> Shop:
    return Shop(origin)


@pytest.fixture
def api(stack: Stack) -> Client:
    return Client(stack.base_url)


@pytest.fixture(scope="session")
def keyed(workspace: Path, cluster: Path) -> Iterator[Stack]:
    """Everything, with API keys required."""
    env = {"HALFTONE_WORKERS": "1", "HALFTONE_AUTH": "required"}
    with Stack(workspace / "keyed", env=env, like=cluster) as stack:
        yield stack


@pytest.fixture
def open_tab(chromium: Browser, stack: Stack, request: pytest.FixtureRequest) -> Iterator[Open]:
    """`open_tab("/docs")`: a tab of a new profile. The test fails if the tab had anything to complain of."""
    name = request.node.name.removeprefix("test_")
    with ExitStack() as closing:
        tabs: list[Tab] = []

        def opened(path: str, *, base_url: str = stack.base_url, touch: bool = False) -> Tab:
            made = chromium.new_context(base_url=base_url, has_touch=touch, reduced_motion="reduce")
            context = closing.enter_context(made)
            context.set_default_timeout(TIMEOUT)
            tabs.append(Tab(context.new_page(), base_url, SCREENSHOTS))
            tabs[-1].page.goto(path)
            return tabs[-1]

        yield opened
        for tab in tabs:
            with suppress(Exception):  # a tab that the test closed has no picture
                tab.screenshot(f"end-{name}")
        complaints = [complaint for tab in tabs for complaint in tab.complaints]
    assert complaints == []
