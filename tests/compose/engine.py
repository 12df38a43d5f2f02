"""The Docker engine: the machine's own, or the one from `../shared/containers`, if that folder exists."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.stack import ROOT

TOOLS = ROOT.parent / "shared" / "containers"


class Failed(Exception):
    """The message is for a person."""


class NoEngine(Failed):
    """Nothing can be tried on this machine."""


@dataclass(frozen=True)
class Engine:
    """`env` reaches it; `tools`: it comes from ../shared/containers; `ours`: we started it and stop it."""

    env: dict[str, str]
    tools: bool = False
    ours: bool = False


@contextmanager
def engine() -> Iterator[Engine]:
    """A Docker engine that answers, started if need be and then stopped.

    Raises:
        NoEngine: there is none, and none can be made.

    """
    found = _find()
    try:
        if found.ours and subprocess.run([TOOLS / "engine", "up"], check=False).returncode:
            raise NoEngine("../shared/containers/engine could not start")
        if found.tools and subprocess.run([TOOLS / "images"], check=False).returncode:
            raise Failed("../shared/containers/images could not build the base images")
        yield found
    finally:
        if found.ours:
            subprocess.run([TOOLS / "engine", "down"], check=False)


def _find() -> Engine:
    if shutil.which("docker") and _succeeds("docker", "info") and _succeeds("docker", "compose", "version"):
        return Engine({}, tools=_tools_made_it(os.environ))
    if not TOOLS.is_dir():
        raise NoEngine("no Docker engine answers (`docker info`), and there is no ../shared/containers to make one")
    shown = subprocess.run([TOOLS / "engine", "env"], check=True, stdout=subprocess.PIPE, text=True).stdout
    env = dict(re.findall(r"(DOCKER_\w+)=(\S+)", shown))
    ours = not _succeeds("docker", "info", env={**os.environ, **env})
    return Engine(env, tools=True, ours=ours)


def _tools_made_it(environment: Mapping[str, str]) -> bool:
    """Whether the engine that answers is that of the tools, made for the shell with `engine env`."""
    return TOOLS.is_dir() and "/containers/" in environment.get("DOCKER_CONFIG", "")


def _succeeds(*command: str, env: Mapping[str, str] | None = None) -> bool:
    quiet = subprocess.DEVNULL
    return subprocess.run(command, env=env, check=False, stdout=quiet, stderr=quiet).returncode == 0
