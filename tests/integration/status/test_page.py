"""The page for people over HTTP: its files, their caching and what a browser may do with them."""

import re

import httpx
import pytest

from services.status.page import FILES


def test_the_root_is_the_page_with_all_that_it_asks_for(client: httpx.Client) -> None:
    page = client.get("/")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert client.head("/").headers["content-length"] == page.headers["content-length"]
    named = re.findall(r'(?:src|href)="(/(?:app|vendor)/[^"]+)', page.text)
    assert "/app/app.js" in named
    assert {client.get(path).status_code for path in named} == {200}


@pytest.mark.parametrize("name", sorted(name for name in FILES if name.endswith(".js")))
def test_every_module_imports_files_that_are_there(client: httpx.Client, name: str) -> None:
    module = client.get(f"/{name}")

    assert module.headers["content-type"] == "text/javascript; charset=utf-8"
    imported = re.findall(r"""(?:from ?|import ?\(?)["'](\.[^"']+)["']""", module.text)
    missing = [path for path in imported if client.get(str(module.url.join(path))).status_code != 200]
    assert not missing


@pytest.mark.parametrize("path", ["/", "/app/app.js", "/docs", "/docs/docs.css", "/docs/problems.css"])
def test_a_browser_asks_each_time_and_gets_what_has_changed_only(client: httpx.Client, path: str) -> None:
    """Styles that a browser kept for a day were those of another version."""
    first = client.get(path)
    again = client.get(path, headers={"If-None-Match": first.headers["etag"]})

    assert first.headers["cache-control"] == again.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")


def test_the_browser_is_told_to_run_nothing_that_is_not_ours(client: httpx.Client) -> None:
    policy = client.get("/").headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["require-trusted-types-for"] == "'script'"
    assert not re.search(r"https?:|\*|unsafe", policy)


def test_no_file_of_the_page_has_inline_style_or_script() -> None:
    own = {name: asset.content.decode() for name, asset in FILES.items() if name.startswith("app/")}
    markup = re.compile(r"""<script(?! type="module" src="/)|<style|\sstyle=|\son[a-z]+=["']|javascript:""")

    assert not {name for name, text in own.items() if markup.search(text)}


@pytest.mark.parametrize(
    "path", ["/app", "/app/", "/app/none.js", "/app/../docs.py", "/app/..%2f..%2fpage.py", "/vendor/lit/README.md"]
)
def test_no_other_file_is_served(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code in {401, 404}
