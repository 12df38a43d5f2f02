"""`make release-check`: what must be true of a version that is shipped. Ends at the first step that fails.

Needs a package index, and for the last step a Docker engine.
"""

import re
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path

from shared.version import VERSION
from tests.compose.__main__ import main as compose_test
from tests.stack import ROOT

CHANGELOG = ROOT / "CHANGELOG.md"
UPGRADING = ROOT / "docs/upgrading.md"
BUILT = ROOT / ".test/release"
COPIES = {
    "client/pyproject.toml": r'^version = "(.+)"$',
    "deploy/Dockerfile": r'image\.version="(.+)"',
    "deploy/k8s/README.md": r"registry\.example/halftone-\S+?:([\d.]+)",
    "deploy/k8s/example/kustomization.yaml": r"newTag: ([^ ]+)",
}
"""Files that repeat the version of pyproject.toml, because what reads them cannot look there."""


class NotReady(Exception):
    """The message is for a person."""


def check_version() -> None:
    """Every copy says the same, and the changelog and the notes on upgrades have a section for it."""
    if wrong := [path for path, found in copies().items() if found != {VERSION}]:
        raise NotReady(f"another version than pyproject.toml's {VERSION} stands in {', '.join(wrong)}")
    titles = re.findall(r"^## (.+)$", CHANGELOG.read_text(), re.MULTILINE)
    if titles[0] != "Unreleased" or not re.fullmatch(rf"{re.escape(VERSION)} - \d{{4}}-\d\d-\d\d", titles[1]):
        raise NotReady(f"CHANGELOG.md must begin with `## Unreleased` and `## {VERSION} - YYYY-MM-DD`")
    if unreleased():
        raise NotReady(f"CHANGELOG.md has entries under `Unreleased` that belong to {VERSION}")
    if f"## {VERSION}\n" not in UPGRADING.read_text():
        raise NotReady(f"docs/upgrading.md has no section {VERSION}")


def check_commit() -> None:
    """All is committed, and a tag of this version is at this commit."""
    if changed := _git("status", "--porcelain"):
        raise NotReady(f"these files are not committed:\n{changed}")
    tag = f"v{VERSION}"
    if _git("tag", "--list", tag) and tag not in _git("tag", "--points-at", "HEAD").split():
        raise NotReady(f"the tag {tag} is at another commit: this needs a new version")


def check_client() -> None:
    """Its wheel is built, installed in an empty environment with what it declares, and started."""
    BUILT.mkdir(parents=True, exist_ok=True)
    for old in BUILT.glob("*.whl"):
        old.unlink()
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    _run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(BUILT), str(ROOT / "client"))
    (wheel,) = BUILT.glob("*.whl")
    environment = BUILT / "environment"
    venv.create(environment, clear=True)
    _run(*pip, "--python", str(environment / "bin/python"), "install", str(wheel))
    told = _run(str(environment / "bin/halftone"), "--version")
    if told != f"halftone {VERSION}":
        raise NotReady(f"the installed client says that it is `{told}`")
    print(f"release: {wheel.relative_to(ROOT)}")


def check_images() -> None:
    """They are built and looked into, and all that `make compose-test` tries out works."""
    if compose_test(()):
        raise NotReady("the compose test failed")


STEPS: tuple[Callable[[], None], ...] = (check_version, check_commit, check_client, check_images)


def main() -> int:
    """The exit status."""
    print(f"release: Halftone {VERSION}")
    for number, step in enumerate(STEPS, 1):
        name = step.__name__.removeprefix("check_")
        begun = time.monotonic()
        try:
            step()
        except (NotReady, OSError) as failure:
            print(f"release: {number}/{len(STEPS)} {name} FAILED: {failure}", file=sys.stderr)
            return 1
        print(f"release: {number}/{len(STEPS)} {name} ok ({time.monotonic() - begun:.0f} s)", flush=True)
    print(f"release: {VERSION} is ready; tag it with `git tag -a v{VERSION}`")
    return 0


def copies() -> dict[str, set[str]]:
    """The versions that each file of `COPIES` names."""
    return {path: {*re.findall(pattern, (ROOT / path).read_text(), re.MULTILINE)} for path, pattern in COPIES.items()}


def unreleased() -> str:
    """What the changelog has under that title."""
    return CHANGELOG.read_text().partition("\n## Unreleased\n")[2].partition("\n## ")[0].strip()


def _git(*arguments: str) -> str:
    return _run("git", *arguments)


def _run(*command: str) -> str:
    """What it prints.

    Raises:
        NotReady: it ended with another status than 0.

    """
    done = subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise NotReady(f"`{Path(command[0]).name} {' '.join(command[1:])}` ended with status {done.returncode}")
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
