"""`docker compose` on our files with the tests' settings.

COMPOSE_PROJECT_NAME and HALFTONE_PORT of the environment name a stack of one's own: several run side by side.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.compose.engine import TOOLS, Engine, Failed
from tests.stack import ROOT

FILE = "docker-compose.yml"
PROJECT = os.environ.get("COMPOSE_PROJECT_NAME", "halftone-test")
PORT = int(os.environ.get("HALFTONE_PORT", "18080"))
BASE_URL = f"http://127.0.0.1:{PORT}"
SERVICES = ("ingest", "worker", "notifier", "status")
PASSWORDS = {f"HALFTONE_{name.upper()}_PASSWORD": f"password-of-{name}" for name in (*SERVICES, "operator")}
PASSWORDS |= {"POSTGRES_PASSWORD": "password-of-postgres"}


class Compose:
    """`pictures` is the folder that `origin` serves; `override` and `settings` add to our file and settings."""

    def __init__(
        self,
        engine: Engine,
        pictures: Path,
        *,
        override: str = "tests/compose/override.yml",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.engine = engine
        self.pictures = pictures
        self.override = override
        own = {"COMPOSE_FILE": f"{FILE}:{override}", "COMPOSE_PROJECT_NAME": PROJECT, "PICTURES": str(pictures)}
        given = {"HALFTONE_PORT": str(PORT), "HALFTONE_FETCH_ALLOW": "origin:8000", **(settings or {})}
        self.env = {**os.environ, **engine.env, **own, **given, **PASSWORDS}

    def __call__(
        self, *arguments: str, capture: bool = False, check: bool = True, env: Mapping[str, str] | None = None
    ) -> str:
        """Run `docker compose` with these arguments.

        Raises:
            Failed: it ended with another status than 0, and `check` is set.

        """
        return self._run("docker", "compose", "--progress", "quiet", *arguments, capture=capture, check=check, env=env)

    def docker(self, *arguments: str) -> str:
        """The output of `docker` itself."""
        return self._run("docker", *arguments, capture=True)

    def _run(self, *command: str, capture: bool, check: bool = True, env: Mapping[str, str] | None = None) -> str:
        stdout = subprocess.PIPE if capture else None
        environment = {**self.env, **(env or {})}
        done = subprocess.run(command, cwd=ROOT, env=environment, text=True, check=False, stdout=stdout)
        if check and done.returncode:
            raise Failed(f"`{' '.join(command)}` ended with status {done.returncode}")
        return done.stdout or ""

    def build(self) -> None:
        """Build the images; the tools also build where a bridge network cannot reach the package index."""
        if not self.engine.tools:
            self("build")
            return
        if subprocess.run([TOOLS / "compose-build", ROOT], env=self.env, cwd=ROOT, check=False).returncode:
            raise Failed("the images could not be built")

    @contextmanager
    def up(self, *arguments: str) -> Iterator[None]:
        """All services, with `docker compose up`'s further arguments; gone at the end with their volumes.

        What fails meanwhile is followed by the containers' state and last lines.

        Raises:
            Failed: they do not come up.

        """
        try:
            self("up", "-d", "--no-build", "--wait", *arguments)
            yield
        except BaseException:
            self("ps", "-a", check=False)
            self("logs", "--no-color", "--tail", "40", check=False)
            raise
        finally:
            self("down", "-v", "--timeout", "20", check=False)

    def tidy(self) -> None:
        """Remove images of ours that have no further use: those of rolls, and those whose names a later build took."""
        rolled = self.docker("image", "ls", "-q", "--filter", f"reference={PROJECT}-next-*").split()
        if rolled:
            self.docker("image", "rm", "--force", *dict.fromkeys(rolled))
        self.docker("image", "prune", "--force", "--filter", f"label=com.docker.compose.project={PROJECT}")

    def ask(self, query: str) -> str:
        """What PostgreSQL answers to its superuser."""
        return self("exec", "-T", "postgres", "psql", "-U", "halftone", "-Atc", query, capture=True)
