"""The notifier's settings."""

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from shared.settings import ConsumerSettings


class NotifierSettings(ConsumerSettings):
    """`threads` reconcile groups and deliver, and mostly wait; a third of them never delivers.

    `host_deliveries`: deliveries to one host at once, so that a dead receiver delays only its own.
    """

    threads: PositiveInt = 24
    host_deliveries: PositiveInt = 2
    delivery_seconds: PositiveFloat = 15.0
    sweep_seconds: PositiveFloat = 5.0
    source_retention_hours: NonNegativeFloat = 24.0
    retention_days: PositiveFloat | None = None
    orphan_hours: PositiveFloat = 24.0
    shutdown_seconds: PositiveFloat = 16.0

    @property
    def deliveries(self) -> int:
        """Threads that may deliver at once: receivers that never answer must leave some for the groups."""
        return max(1, self.threads * 2 // 3)
