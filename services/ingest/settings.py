"""Settings of the ingest service; deploy/env.example is their manual."""

from datetime import timedelta

from pydantic import PositiveFloat, PositiveInt

from shared.settings import Duration, HttpSettings


class IngestSettings(HttpSettings):
    """Limits of one upload, and how long a request may take. `max_json_bytes`: JSON is held in memory, CSV is not."""

    max_upload_bytes: PositiveInt = 100_000_000
    max_json_bytes: PositiveInt = 16_000_000
    max_images: PositiveInt = 1_000_000
    max_urls_per_row: PositiveInt = 100
    max_url_length: PositiveInt = 2048
    max_row_errors: PositiveInt = 100_000
    upload_seconds: PositiveFloat = 900
    deadline: Duration = timedelta(hours=24)
    idempotency_retention: Duration = timedelta(hours=24)
    accept_timeout_seconds: PositiveInt = 300
