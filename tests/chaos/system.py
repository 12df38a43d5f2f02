"""What a run needs of the system under test, wherever its processes are."""

from pathlib import Path
from typing import Any, Protocol

import psycopg
import redis

from tests.chaos.drained import Resources
from tests.chaos.load import Shelf
from tests.chaos.receiver import MisbehavingReceiver


class System(Protocol):
    """`key` is an API key, where one is needed; `base` the resources of each process before the first fault."""

    base: dict[str, Resources]

    @property
    def base_url(self) -> str:
        """The gateway's address."""

    @property
    def key(self) -> str | None: ...

    @property
    def hooks(self) -> str:
        """The receiver's address, as the notifier reaches it."""

    @property
    def blobs(self) -> Path:
        """The blob store's folder."""

    @property
    def temporary(self) -> Path:
        """The folder in which processes make temporary files."""

    @property
    def shelf(self) -> Shelf: ...

    @property
    def receiver(self) -> MisbehavingReceiver: ...

    def database(self) -> "psycopg.Connection[Any]":
        """A connection for the checks, which commits by itself."""

    def redis(self) -> "redis.Redis": ...

    def resources(self) -> dict[str, Resources]:
        """The resources of each service that runs at this moment."""
