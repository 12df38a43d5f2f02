"""`python -m tests.chaos.two_notifiers`: the local stack in the foreground, with a second notifier."""

import sys
from typing import Any

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


def main() -> int:
    vars_of_stack: Any = stack
    vars_of_stack.Processes = ProcessesWithTwo
    settings = LocalSettings()
    return command.run(settings, DataDir(settings.folder), servers_only=False)


if __name__ == "__main__":
    sys.exit(main())
