"""Settings that every service shares, read once from the environment; deploy/env.example is their manual."""

import sys
from collections.abc import Iterable
from typing import Literal, NoReturn, TypeVar

from pydantic import AliasChoices, Field, PositiveFloat, PositiveInt, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.setting_types import BlobUrl, DatabaseUrl, FetchAllow, LogFormat, LogLevel, Port, PublicUrl, RedisUrl

AnySettings = TypeVar("AnySettings", bound=BaseSettings)
CUSTOMARY = {"DATABASE_URL", "REDIS_URL", "BLOB_URL"}
NO_KEYS_YET = "`required` is not possible yet: there are no API keys; `off` lets in whoever reaches the gateway"


class Settings(BaseSettings):
    """The three addresses have their customary names; everything else has the prefix `HALFTONE_`."""

    model_config = SettingsConfigDict(
        env_prefix="HALFTONE_", frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    database_url: DatabaseUrl = Field(validation_alias=AliasChoices("DATABASE_URL", "database_url"))
    redis_url: RedisUrl = Field(
        default="redis://127.0.0.1:6379/0", validation_alias=AliasChoices("REDIS_URL", "redis_url")
    )
    blob_url: BlobUrl = Field(
        default="file:///var/lib/halftone/blobs", validation_alias=AliasChoices("BLOB_URL", "blob_url")
    )
    public_url: PublicUrl = "http://127.0.0.1:8080"
    fetch_allow: FetchAllow = ()
    health_host: str = "127.0.0.1"
    health_port: Port = 0
    log_format: LogFormat = "text"
    log_level: LogLevel = "info"


class HttpSettings(Settings):
    """What every service that speaks HTTP needs.

    `database_pool`: connections kept open; as many again may be opened under load. `http_at_once`: requests that are
    being answered; the next one is turned away.
    """

    auth: Literal["off", "required"] = "off"
    database_pool: PositiveInt = 10
    http_at_once: PositiveInt = 300

    @field_validator("auth")
    @classmethod
    def _off_so_far(cls, value: str) -> str:
        if value == "required":
            raise ValueError(NO_KEYS_YET)
        return value


class ConsumerSettings(Settings):
    """What every service that consumes messages needs: `threads` run them; a stop takes at most `shutdown_seconds`."""

    threads: PositiveInt = 8
    shutdown_seconds: PositiveFloat = 10.0


def from_environment(kind: type[AnySettings]) -> AnySettings:
    """The settings; where they are wrong, the process ends with one line for each that names the variable."""
    try:
        return kind()
    except ValidationError as error:
        refuse(complaints(error))


def complaints(error: ValidationError) -> list[str]:
    """One line for each wrong setting."""
    told = []
    for problem in error.errors():
        name, why = str(problem["loc"][0]).upper(), problem["msg"].removeprefix("Value error, ")
        told.append(f"{name if name in CUSTOMARY else f'HALFTONE_{name}'}: {why}")
    return told


def refuse(told: Iterable[str]) -> NoReturn:
    """End the process as wrong settings do: a line for each, said once, and exit status 2."""
    sys.stderr.writelines(f"halftone: {line}\n" for line in dict.fromkeys(told))
    raise SystemExit(2)
