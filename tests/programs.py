"""`python -m tests.programs [NAME...]`: what the tests drive and no package index has; says how to get what is missing.

As root it installs that with apt-get, where there is one.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

NODE = 20  # the oldest one that the examples in JavaScript run with


class MissingProgram(Exception):
    """What is missing, for what, and how to get it."""


@dataclass(frozen=True)
class Program:
    """`names`: in the PATH, or whole paths. `packages`: Debian's."""

    names: Sequence[str]
    packages: Sequence[str]
    advice: str
    oldest: int = 0

    def path(self) -> str:
        """Raises MissingProgram, also for one that is too old."""
        found = next(filter(None, map(shutil.which, self.names)), None)
        if found is None:
            raise MissingProgram(f"There is no {self.names[0]}. {self.advice}")
        if self.oldest and (version := _major(found)) < self.oldest:
            raise MissingProgram(f"{found} is version {version}. {self.advice}")
        return found


def _major(path: str) -> int:
    printed = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    digits = re.search(r"\d+", printed)
    return int(digits[0]) if digits else 0


_NODE_ADVICE = (
    f"The examples in JavaScript are tested with Node.js {NODE} or newer and its npm. Install them: `apt-get install "
    "nodejs npm` on Debian 13, `dnf install nodejs npm` on Fedora, `brew install node` on macOS, or from nodejs.org."
)
PROGRAMS = {
    "chromium": Program(
        (
            *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
            "/Applications/Chromium.app/Contents/MacOS/Chromium",
            "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
        ),
        ("chromium",),
        "The web page is tested with the system's Chromium or Google Chrome. Install one: `apt-get install chromium` "
        "on Debian, `dnf install chromium` on Fedora, Google Chrome (google.com/chrome) on Ubuntu and macOS.",
    ),
    "node": Program(("node",), ("nodejs",), _NODE_ADVICE, oldest=NODE),
    "npm": Program(("npm",), ("npm",), _NODE_ADVICE),
}


def path(name: str) -> str:
    """The program of this name; raises MissingProgram."""
    return PROGRAMS[name].path()


def missing(names: Sequence[str]) -> dict[str, str]:
    """Those that cannot be had as things are, each with what to do about it."""
    found: dict[str, str] = {}
    for name in names:
        try:
            path(name)
        except MissingProgram as absent:
            found[name] = str(absent)
    return found


def install(apt_get: str, names: Sequence[str]) -> None:
    """Its errors are printed, and what is missing after it tells."""
    packages = [package for name in names for package in PROGRAMS[name].packages]
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    print(f"installing {' '.join(packages)}", flush=True)  # noqa: T201
    for command in (["update"], ["install", "--no-install-recommends", "--yes", *packages]):
        subprocess.run([apt_get, "-qq", *command], env=env, stdout=subprocess.DEVNULL, check=False)


def main(names: Sequence[str]) -> int:
    """1 if any of them is missing after all."""
    absent = missing(names)
    if absent and os.geteuid() == 0 and (apt_get := shutil.which("apt-get")):
        install(apt_get, list(absent))
        absent = missing(names)
    for advice in dict.fromkeys(absent.values()):
        print(f"halftone: {advice}", file=sys.stderr)  # noqa: T201
    return 1 if absent else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(PROGRAMS)))
