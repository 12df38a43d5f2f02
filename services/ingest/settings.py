"""Settings of the ingest service; deploy/env.example is their manual."""

from datetime import timedelta

from shared.settings import HttpSettings


class IngestSettings(HttpSettings):
    """Limits of one upload, and how long a request may take. `max_json_bytes`: JSON is held in memory, CSV is not."""

    max_upload_bytes: int = 100_000_000
    max_json_bytes: int = 16_000_000
    max_images: int = 1_000_000
    max_urls_per_row: int = 100
    max_url_length: int = 2048
    max_row_errors: int = 100_000
    upload_seconds: float = 900
    deadline: timedelta = timedelta(hours=24)
    idempotency_retention: timedelta = timedelta(hours=24)
    accept_timeout_seconds: int = 300
