"""A page of the browser under watch: what it complains of, whom it asks, who can use it, and how it looks."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Error, Page, Request

WIDE, PHONE = (1280, 900), (390, 844)
Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
SERIOUS = {"serious", "critical"}
# Other tests' network namespaces come and go on the same machine, which Chromium takes for a change of its own network.
NETWORK_CHANGED = "net::ERR_NETWORK_CHANGED"
# The page repeats its calls, but cannot load its own scripts again: it stays empty until somebody does.
LOAD_AGAIN = """
if (document.readyState === "complete") location.reload();
else addEventListener("load", () => location.reload());
"""
# What Chromium does not log of the policy, an event tells.
TELL_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`CSP: ${event.violatedDirective} refused ${event.blockedURI} in ${event.sourceFile}`));
"""


class Tab:
    """`complaints`: errors of the console or of scripts, violations of the policy, and requests to other hosts."""

    def __init__(self, page: Page, base_url: str, screenshots: Path) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.hosts = {urlsplit(base_url).netloc}  # no other may be asked
        self._screenshots = screenshots
        self._expected: list[re.Pattern[str]] = []
        page.add_init_script(TELL_VIOLATIONS)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(f"script: {error}"))
        page.on("requestfailed", self._on_failed)
        page.context.on("request", self._on_request)

    def expect_error(self, pattern: str) -> None:
        """From now on an error of the console that matches is no complaint: the browser logs each answer of 4xx."""
        self._expected.append(re.compile(pattern))

    def asked(self, pattern: str) -> list[str]:
        """`METHOD path?query` of each request so far that matches."""
        return [request for request in self.requests if re.search(pattern, request)]

    def _on_console(self, message: ConsoleMessage) -> None:
        text = f"{message.text} ({message.location['url']})"
        if message.type != "error" or NETWORK_CHANGED in message.text:
            return
        if not any(pattern.search(text) for pattern in self._expected):
            self.complaints.append(f"console: {text}")

    def _on_request(self, request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme in {"blob", "data"}:
            return
        self.requests.append(f"{request.method} {url.path}{url.query and '?'}{url.query}")
        if url.netloc not in self.hosts:
            self.complaints.append(f"another host: {request.url}")

    def _on_failed(self, request: Request) -> None:
        if request.failure == NETWORK_CHANGED and request.resource_type in {"script", "stylesheet"}:
            with suppress(Error):  # it is being loaded again
                self.page.evaluate(LOAD_AGAIN)

    def look(self, name: str, *, whole: bool = True) -> None:
        """Keep screenshots at both widths, light and dark: `NAME-WIDTH-SCHEME.png`."""
        for state in self._states():
            self.screenshot(f"{name}-{state}", whole=whole)

    def screenshot(self, name: str, *, whole: bool = True) -> None:
        self._screenshots.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=self._screenshots / f"{re.sub(r'[^a-z0-9-]+', '-', name)}.png", full_page=whole)

    def barriers(self) -> list[str]:
        """What axe finds serious or critical, at both widths, light and dark: the rule, and where."""
        found: list[str] = []
        for state in self._states():
            violations: list[dict[str, Any]] = Axe().run(self.page).response["violations"]
            for violation in violations:
                if violation["impact"] in SERIOUS:
                    found += [f"{state}: {violation['id']}: {node['html'][:200]}" for node in violation["nodes"]]
        return found

    def _states(self) -> Iterator[str]:
        """Puts the page into each width and scheme, and back: `WIDTH-SCHEME`."""
        before = self.page.viewport_size
        for scheme in SCHEMES:
            self.page.emulate_media(color_scheme=scheme)
            for width, height in (WIDE, PHONE):
                self.page.set_viewport_size({"width": width, "height": height})
                yield f"{width}-{scheme}"
        self.page.emulate_media(color_scheme="light")
        if before is not None:
            self.page.set_viewport_size(before)

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
