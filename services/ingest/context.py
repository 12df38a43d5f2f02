"""What the calls of ingest work with, besides what all HTTP services share."""

from services.ingest.changes import Changes
from services.ingest.settings import IngestSettings
from shared import broker
from shared.http.context import Context
from shared.http.limits import QueuedLimit
from shared.messages import Message


class IngestContext(Context):
    """`large_uploads`: each needs a core and some 60 MB, so only a few are parsed at a time."""

    settings: IngestSettings

    def __init__(self, settings: IngestSettings) -> None:
        super().__init__(settings)
        self.changes = Changes(self.database, at_once=settings.database_pool)
        self.large_uploads = QueuedLimit("large uploads", running=2, waiting=20)
        self._broker = broker.connect(settings.redis_url, retries=0)

    def send(self, message: Message) -> bool:
        """Best effort; the sweeper repairs what was not sent."""
        return broker.send(self._broker, message)

    def close(self) -> None:
        self._broker.close()
        super().close()
