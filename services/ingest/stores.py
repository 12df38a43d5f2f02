"""What the calls of this service work with, made once in `app`."""

from dataclasses import dataclass, field

from starlette.requests import Request as HttpRequest

from services.ingest.rows import Limits
from services.ingest.settings import IngestSettings
from services.ingest.turns import Turns
from shared.blobs import Blobs
from shared.broker import Broker, send
from shared.db import Database
from shared.messages import Message

LARGE_AT_ONCE = 2
LARGE_WAITING = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Database, broker, blobs, the settings, and places for large uploads, of which a few at a time are read."""

    database: Database
    broker: Broker
    blobs: Blobs
    settings: IngestSettings
    large_uploads: Turns = field(default_factory=lambda: Turns(at_once=LARGE_AT_ONCE, waiting=LARGE_WAITING))

    @property
    def limits(self) -> Limits:
        return Limits(
            images=self.settings.max_images,
            urls_per_row=self.settings.max_urls_per_row,
            url_length=self.settings.max_url_length,
            row_errors=self.settings.max_row_errors,
        )

    def send(self, message: Message) -> bool:
        """Best effort; what is lost, the sweeper finds."""
        return send(self.broker, message)


def stores_of(http_request: HttpRequest) -> Stores:
    stores = http_request.app.state.stores
    assert isinstance(stores, Stores)
    return stores
