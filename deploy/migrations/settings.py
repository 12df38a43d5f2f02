"""Settings of the migrations."""

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.settings import DatabaseUrl, SigningSecret


class MigrationSettings(BaseSettings):
    """`webhook_secret` is the default account's signing secret; without one, the first migration makes one."""

    model_config = SettingsConfigDict(
        env_prefix="HALFTONE_", frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    database_url: DatabaseUrl = Field(validation_alias=AliasChoices("DATABASE_URL", "database_url"))
    webhook_secret: SigningSecret | None = None
