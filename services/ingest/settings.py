"""Settings of the ingest service; deploy/env.example is their manual."""

from datetime import timedelta

from pydantic import PositiveFloat, PositiveInt, ValidationInfo, field_validator

from services.ingest.manifest.rows import Limits
from shared.settings import Duration, HttpSettings


class IngestSettings(HttpSettings, Limits):
    """Limits of one upload (JSON has its own: it is parsed in memory, CSV is streamed), and times of a request.

    `spool_bytes`: of all uploads that a process works on together. `upload_seconds`: to receive the body.
    `accept_timeout_seconds`: for each statement that stores or retries a whole request.
    """

    max_upload_bytes: PositiveInt = 100_000_000
    max_json_bytes: PositiveInt = 16_000_000
    spool_bytes: PositiveInt = 2_000_000_000
    upload_seconds: PositiveFloat = 900
    deadline: Duration = timedelta(hours=24)
    idempotency_retention: Duration = timedelta(hours=24)
    accept_timeout_seconds: PositiveInt = 300

    @field_validator("spool_bytes")
    @classmethod
    def _enough_for_one(cls, value: int, info: ValidationInfo) -> int:
        """A body and its rows, which take up to five times as much."""
        if value < 6 * info.data.get("max_upload_bytes", 0):
            raise ValueError("must be at least 6 times HALFTONE_MAX_UPLOAD_BYTES")
        return value
