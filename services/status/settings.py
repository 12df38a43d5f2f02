"""Settings of the status service; deploy/env.example is their manual."""

from shared.settings import HttpSettings


class StatusSettings(HttpSettings):
    """Those of every HTTP service."""
