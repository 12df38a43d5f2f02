"""`python -m tests.chaos.two_notifiers run`: the local stack in the foreground, with a second notifier."""

import sys

from deploy.local import __main__ as command
from deploy.local import stack
from deploy.local.data_dir import DataDir
from deploy.local.process import Spec
from deploy.local.processes import Processes
from deploy.local.settings import LocalSettings

SECOND = "notifier-2"


class ProcessesWithTwo(Processes):
    """The same processes and one more notifier."""

    def __init__(self, settings: LocalSettings, data: DataDir) -> None:
        super().__init__(settings, data)
        self.port = data.ports([*self.port, SECOND])

    def services(self) -> list[Spec]:
        return [*super().services(), self._module(SECOND, "services.notifier")]


if __name__ == "__main__":
    stack.Processes = ProcessesWithTwo  # type: ignore[attr-defined]
    sys.exit(command.main())
