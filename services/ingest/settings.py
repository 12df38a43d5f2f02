"""Settings of the ingest service; deploy/env.example is their manual."""

from datetime import timedelta

from pydantic import PositiveFloat, PositiveInt

from services.ingest.manifest.rows import Limits
from shared.settings import Duration, HttpSettings


class IngestSettings(HttpSettings, Limits):
    """Limits of one upload (JSON has its own: it is parsed in memory, CSV is streamed), and times of a request.

    `upload_seconds`: to receive the body. `accept_timeout_seconds`: for each statement that stores or retries a
    whole request.
    """

    max_upload_bytes: PositiveInt = 100_000_000
    max_json_bytes: PositiveInt = 16_000_000
    upload_seconds: PositiveFloat = 900
    deadline: Duration = timedelta(hours=24)
    idempotency_retention: Duration = timedelta(hours=24)
    accept_timeout_seconds: PositiveInt = 300
