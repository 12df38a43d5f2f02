"""What the calls of ingest work with, besides what all HTTP services share."""

from dataclasses import dataclass, field

from services.ingest.settings import IngestSettings
from shared.broker import Broker, send
from shared.http.context import Context
from shared.http.limits import QueuedLimit
from shared.messages import Message

LARGE_RUNNING = 2
LARGE_WAITING = 20


@dataclass(frozen=True, kw_only=True)
class IngestContext(Context):
    """`large_uploads`: each needs a core and some 60 MB, so only a few are parsed at a time."""

    settings: IngestSettings
    broker: Broker
    large_uploads: QueuedLimit = field(
        default_factory=lambda: QueuedLimit("large uploads", running=LARGE_RUNNING, waiting=LARGE_WAITING)
    )

    def send(self, message: Message) -> bool:
        """Best effort; the sweeper repairs what was not sent."""
        return send(self.broker, message)
