"""Settings of the status service; deploy/env.example is their manual."""

from shared.settings import Settings


class StatusSettings(Settings):
    """`database_pool`: connections kept open; as many again may be opened under load."""

    database_pool: int = 10
