"""Settings that every service shares, read once from the environment; deploy/env.example is their manual."""

from typing import Annotated, Literal, TypeVar

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

AnySettings = TypeVar("AnySettings", bound=BaseSettings)
CUSTOMARY = {"DATABASE_URL", "REDIS_URL", "BLOB_URL"}
NO_KEYS_YET = "`required` is not possible yet: there are no API keys; `off` lets in whoever reaches the gateway"


class Settings(BaseSettings):
    """The three addresses have their customary names; everything else has the prefix `HALFTONE_`."""

    model_config = SettingsConfigDict(
        env_prefix="HALFTONE_", frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    database_url: str = Field(validation_alias=AliasChoices("DATABASE_URL", "database_url"))
    redis_url: str = Field(default="redis://127.0.0.1:6379/0", validation_alias=AliasChoices("REDIS_URL", "redis_url"))
    blob_url: str = Field(
        default="file:///var/lib/halftone/blobs", validation_alias=AliasChoices("BLOB_URL", "blob_url")
    )
    public_url: str = "http://127.0.0.1:8080"
    fetch_allow: Annotated[tuple[str, ...], NoDecode] = ()
    health_host: str = "127.0.0.1"
    health_port: int = 0
    log_format: str = "text"  # or "json"
    log_level: str = "info"

    @field_validator("fetch_allow", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("public_url")
    @classmethod
    def _no_slash(cls, value: str) -> str:
        return value.rstrip("/")


class HttpSettings(Settings):
    """What every service that speaks HTTP needs.

    `database_pool`: connections kept open; as many again may be opened under load. `http_at_once`: requests that are
    being answered; the next one is turned away.
    """

    auth: Literal["off", "required"] = "off"
    database_pool: int = 10
    http_at_once: int = 300

    @field_validator("auth")
    @classmethod
    def _off_so_far(cls, value: str) -> str:
        if value == "required":
            raise ValueError(NO_KEYS_YET)
        return value


class ConsumerSettings(Settings):
    """What every service that consumes messages needs: `threads` run them; a stop takes at most `shutdown_seconds`."""

    threads: int = 8
    shutdown_seconds: float = 10.0


def from_environment(kind: type[AnySettings]) -> AnySettings:
    """The settings; where they are wrong, the process ends with one line for each that names the variable."""
    try:
        return kind()
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name, told = str(problem["loc"][0]).upper(), problem["msg"].removeprefix("Value error, ")
            lines.append(f"halftone: {name if name in CUSTOMARY else f'HALFTONE_{name}'}: {told}")
        raise SystemExit("\n".join(lines)) from None
