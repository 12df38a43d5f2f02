"""`python -m tests.upgrades.two_versions run`: the local stack, in which each service has a version of its own.

`VERSIONS/NAME` is a link to the code that the process NAME (or `migrate`) runs from its next start on.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path

from deploy.local import __main__ as command
from deploy.local import fork_server, stack
from deploy.local.process import Spec
from deploy.local.processes import Processes
from tests.stack import ROOT, Stack

VERSIONS = "TEST_VERSIONS"
MIGRATE = "migrate"


class ProcessesOfTwoVersions(Processes):
    """The same processes, each in the folder of its version."""

    def services(self) -> list[Spec]:
        return [replace(spec, cwd=Path(os.environ[VERSIONS]) / spec.name) for spec in super().services()]


class MixedStack(Stack):
    """Starts with the code in `old` everywhere; `change` gives a process the other one."""

    def __init__(self, folder: Path, old: Path, *, services: tuple[str, ...], env: dict[str, str]) -> None:
        self._versions = folder.with_name(f"{folder.name}-versions")
        self._versions.mkdir()
        self._old = old
        for name in (*services, MIGRATE):
            (self._versions / name).symlink_to(old)
        super().__init__(folder, module=__name__, env={**env, VERSIONS: str(self._versions)})

    def change(self, name: str) -> None:
        """Restart a process as what it is not: old as new, new as old."""
        link = self._versions / name
        to = ROOT if link.resolve() == self._old.resolve() else self._old
        link.unlink()
        link.symlink_to(to)
        self.restart(name)

    def runs_in(self, name: str) -> Path:
        """The folder whose code the process runs."""
        return Path(f"/proc/{self.pid(name)}/cwd").resolve()


if __name__ == "__main__":
    fork_server.SAFE = False  # it forks one version
    stack.Processes = ProcessesOfTwoVersions  # type: ignore[attr-defined]
    stack.ROOT = Path(os.environ[VERSIONS]) / MIGRATE  # type: ignore[attr-defined]
    sys.exit(command.main())
