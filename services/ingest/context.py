"""What the calls of ingest work with, besides what all HTTP services share."""

import asyncio
from threading import BoundedSemaphore

from services.ingest.changes import Changes
from services.ingest.settings import IngestSettings
from services.ingest.space import SpoolSpace
from shared import broker, tracing
from shared.http.context import Context
from shared.http.limits import QueuedLimit
from shared.messages import Message


class IngestContext(Context):
    """What bounds all uploads of the process together.

    `space`: their bytes on disk. `large_uploads`: each needs a core, and JSON up to 500 MB of memory (ADR 8), so
    only a few are parsed at a time.
    `parsing`, `parsing_forms`: threads that parse, which share one interpreter with the event loop; one of them is
    always free for small uploads. `submitting`: threads, each with a connection, of which some are left for changes.
    """

    settings: IngestSettings

    def __init__(self, settings: IngestSettings) -> None:
        super().__init__(settings)
        self.changes = Changes(self.database, at_once=settings.database_pool)
        self.large_uploads = QueuedLimit("large uploads", running=2, waiting=20)
        self.space = SpoolSpace(settings.spool_bytes)
        self.parsing = BoundedSemaphore(3)
        self.parsing_forms = asyncio.Semaphore(2)
        self.submitting = asyncio.Semaphore(settings.database_pool)
        self._broker = broker.connect(settings.redis_url, retries=0)

    def send(self, message: Message) -> bool:
        """Best effort; the sweeper repairs what was not sent."""
        return broker.send(self._broker, message)

    def close(self) -> None:
        self._broker.close()
        super().close()
        tracing.close()
