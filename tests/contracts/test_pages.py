"""The pages name only files that exist, and the README's table names every path of the API."""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import yaml

from shared.http.paths import METHODS
from tests.stack import ROOT

PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")]
LINKING = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "client/README.md", ROOT / "deploy/k8s/README.md"]
PREFIX = "/v1/requests/{id}"


def test_every_file_that_a_page_names_is_there() -> None:
    named = set()
    for page in PAGES:
        text = re.sub(r"`(ingest|worker|notifier|status)/", r"`services/\1/", page.read_text(encoding="utf-8"))
        named |= {
            (page, path) for path in re.findall(r"(?<![\s`}]/)(?:services|shared|deploy|tests|docs)/[\w./-]*\w", text)
        }
    assert named
    assert {(page, path) for page, path in named if not (ROOT / path).exists()} == set()


def test_every_link_leads_to_a_file_and_a_heading_in_it() -> None:
    dead = set()
    for page in LINKING:
        for path, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page.read_text(encoding="utf-8")):
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in _anchors(target)):
                dead.add((page.name, f"{path}#{anchor}"))
    assert dead == set()


def _anchors(page: Path) -> set[str]:
    """As GitHub and others make them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_command_of_compose_names_services_that_there_are() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"].keys()
    commands = {line for page in LINKING for line in re.findall(r"docker compose ([^`\n#|<>()]+)", _commands(page))}
    named = {command: set(_services(command.split())) for command in commands}
    assert any(named.values())
    assert {command: unknown for command, names in named.items() if (unknown := names - services)} == {}


def _services(words: list[str]) -> Iterator[str]:
    """Of `up`, `restart` and `--scale` each that is named, of `run` and `exec` the first."""
    called = next((word for word in words if word in {"up", "restart", "run", "exec"}), "")
    plain = []
    for before, word in pairwise(["", *words]):
        if before == "--scale":
            yield word.partition("=")[0]
        elif not word.startswith("-") and before != "--profile":
            plain.append(word)
    if called:
        named = plain[plain.index(called) + 1 :]
        yield from named if called in {"up", "restart"} else named[:1]


def test_every_target_of_make_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        word for page in LINKING for word in re.findall(r"(?:^|`|\()make ([a-z-]+)", _commands(page), re.MULTILINE)
    }
    assert named
    assert named <= targets


def _commands(page: Path) -> str:
    """What stands in blocks and between backticks."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return "\n".join([*blocks, *(f"`{code}`" for code in re.findall(r"`([^`\n]+)`", text))])


def test_the_readme_s_table_names_every_path() -> None:
    table = re.findall(r"^\| `.*$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    told = {path.replace("…", PREFIX) for line in table for path in re.findall(r"[/…][^\s`?]*/?", line.split(" | ")[0])}
    written = {
        re.sub(r"\{(?:\w+_id)\}", "{id}", path).replace("{number}", "{n}").replace(":path", "") for path in METHODS
    }
    for_browsers = {"/", "/app/{name}", "/vendor/{name}", *(path for path in written if path.startswith("/docs"))}
    assert written - told <= for_browsers | {"/status/{id}/", "/api/check-status/{id}", "/openapi.json"}
