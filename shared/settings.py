"""Settings that every service shares, read once from the environment; deploy/env.example is their manual.

The types judge a value as the library that uses it does, so that a wrong one is found at the start, not by a request.
"""

import os
import re
import sys
from base64 import b64decode
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from datetime import timedelta
from typing import Annotated, Any, Literal, NoReturn, Self, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from shared.schemas.accounts import NO_LIMITS, Limits
from shared.secret_files import secrets_from_files
from shared.urls import InvalidUrl, Target, allowed_pair, refusal

AnySettings = TypeVar("AnySettings", bound=BaseSettings)
CUSTOMARY = re.compile(r"DATABASE_URL|REDIS_URL|BLOB_URL|AWS_\w+")
BUCKETS = ("s3", "gs", "az")
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _database(url: str) -> str:
    """Judged by SQLAlchemy: a password may hold characters that other parsers take for the end of the host."""
    url = url.replace("postgresql+psycopg://", "postgresql://", 1)  # as SQLAlchemy spells it
    try:
        parts = make_url(url)
    except (ArgumentError, ValueError):
        parts = None
    if parts is None or parts.drivername not in ("postgresql", "postgres") or parts.port == 0:
        raise ValueError("must be postgresql://user:password@host:port/database")
    return url


def _redis(url: str) -> str:
    parts = _require(url, ("redis", "rediss", "unix"), "redis://host:port/0")
    if parts.scheme == "unix" and not parts.path:
        raise ValueError("must be unix:///path/of/the/socket")
    return url


def _blobs(url: str) -> str:
    wanted = "file:///an/absolute/folder, or a bucket (s3://..., gs://..., az://...)"
    parts = _require(url, ("file", *BUCKETS), wanted)
    if (parts.netloc or not parts.path.strip("/")) if parts.scheme == "file" else not parts.netloc:
        raise ValueError(f"must be {wanted}")
    return url


def _require(url: str, schemes: tuple[str, ...], wanted: str) -> SplitResult:
    with suppress(ValueError):  # the port is not a number
        parts = urlsplit(url)
        if "://" in url and parts.scheme in schemes and parts.port != 0:
            return parts
    raise ValueError(f"must be {wanted}")


def _public(url: str) -> str:
    if refusal(url) or "?" in url or "#" in url:
        raise ValueError("must be an address like https://halftone.example")
    return url.rstrip("/")


def _contact(text: str) -> str:
    if text and not re.fullmatch(r"https?://[!-'*-~]{1,200}|[!-'*-?A-~]{1,64}@[!-'*-?A-~]{1,200}", text):
        raise ValueError("must be an address like https://halftone.example/about or images@halftone.example")
    return text


def _host(text: str) -> str:
    with suppress(InvalidUrl):
        if not re.search(r"[/?#]", text):
            return Target.parse(f"http://{text}/").host
    raise ValueError("must be a host name or an address like [::1], or several with commas")


def _signing_secret(text: str) -> str:
    try:
        key = b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not text.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ValueError("must be whsec_ and 24 to 64 bytes in base64")
    return text


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


DatabaseUrl = Annotated[str, AfterValidator(_database)]
RedisUrl = Annotated[str, AfterValidator(_redis)]
BlobUrl = Annotated[str, AfterValidator(_blobs)]
PublicUrl = Annotated[str, AfterValidator(_public)]
HostPort = Annotated[str, AfterValidator(allowed_pair)]
FetchAllow = Annotated[tuple[HostPort, ...], NoDecode, BeforeValidator(_split)]
Contact = Annotated[str, AfterValidator(_contact)]
AllowedHosts = Annotated[tuple[Annotated[str, AfterValidator(_host)], ...], NoDecode, BeforeValidator(_split)]
SigningSecret = Annotated[str, AfterValidator(_signing_secret)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)]
LogFormat = Annotated[Literal["text", "json"], BeforeValidator(_lower)]
Port = Annotated[int, Field(ge=0, le=65535)]
Duration = Annotated[timedelta, Field(gt=timedelta(0))]
"""More than zero; ISO 8601, or seconds."""


def _customary(name: str) -> AliasChoices:
    return AliasChoices(name.upper(), name)


class _SecretFiles(PydanticBaseSettingsSource):
    """The values of `secrets_from_files`, under the names by which the settings know them."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        raise NotImplementedError  # __call__ reads them all

    def __call__(self) -> dict[str, Any]:
        try:
            found = secrets_from_files(os.environ)
        except ValueError as error:
            exit_with([str(error)])
        return {
            name if CUSTOMARY.fullmatch(name) else name.removeprefix("HALFTONE_").lower(): found[name] for name in found
        }


class FromEnvironment(BaseSettings):
    """Read from variables that begin with `HALFTONE_`, or for secrets from files."""

    model_config = SettingsConfigDict(
        env_prefix="HALFTONE_", frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - there is none
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - that is a folder of files
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _SecretFiles(settings_cls)


class BucketSettings(FromEnvironment):
    """Where blobs are in a bucket; obstore itself reads the other `AWS_...`, and those of other clouds.

    `blob_public_endpoint`: where browsers reach the bucket's server, if that is not where the services do.
    `blob_fallback_url`: while blobs move, the other store (shared/blobs/moving.py).
    """

    aws_access_key_id: str | None = Field(default=None, validation_alias=_customary("aws_access_key_id"))
    aws_secret_access_key: str | None = Field(
        default=None, validation_alias=_customary("aws_secret_access_key"), repr=False
    )
    aws_region: str | None = Field(default=None, validation_alias=_customary("aws_region"))
    aws_endpoint_url: PublicUrl | None = Field(default=None, validation_alias=_customary("aws_endpoint_url"))
    aws_allow_http: bool = Field(default=False, validation_alias=_customary("aws_allow_http"))
    blob_public_endpoint: PublicUrl | None = None
    blob_fallback_url: BlobUrl | None = None

    @model_validator(mode="after")
    def _key_with_its_secret(self) -> Self:
        if bool(self.aws_access_key_id) != bool(self.aws_secret_access_key):
            raise ValueError("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are needed both, or neither")
        return self


class Settings(BucketSettings):
    """`DATABASE_URL`, `REDIS_URL`, `BLOB_URL`, `AWS_...` are customary names; all others begin with `HALFTONE_`."""

    database_url: DatabaseUrl = Field(validation_alias=_customary("database_url"))
    redis_url: RedisUrl = Field(default="redis://127.0.0.1:6379/0", validation_alias=_customary("redis_url"))
    blob_url: BlobUrl = Field(default="file:///var/lib/halftone/blobs", validation_alias=_customary("blob_url"))
    public_url: PublicUrl = "http://127.0.0.1:8080"
    fetch_allow: FetchAllow = ()
    fetch_contact: Contact = ""
    health_host: str = "127.0.0.1"
    health_port: Port = 0
    log_format: LogFormat = "text"
    log_level: LogLevel = "info"


class HttpSettings(Settings):
    """What every service that answers HTTP needs.

    `allowed_hosts`: the server's names besides that of its public URL, without ports; an IPv6 address has no brackets.
    `auth`: whether calls need an API key; where it is `off`, everyone who reaches the gateway is the default account.
    `database_pool`: connections kept open; as many again may be opened under load. `http_at_once`: requests answered at
    a time; further ones are refused. The others limit accounts that have no limits of their own.
    """

    allowed_hosts: AllowedHosts = ()
    auth: Literal["off", "required"] = "off"
    database_pool: PositiveInt = 10
    http_at_once: PositiveInt = 300
    calls_per_second: PositiveInt = 50
    uploads_per_minute: PositiveInt = 60
    open_requests: PositiveInt = 1_000
    images_per_day: PositiveInt = 5_000_000
    stored_bytes: PositiveInt | None = None

    @property
    def limits(self) -> Limits:
        """None where keys are off: there is one person, or a network that is trusted."""
        if self.auth == "off":
            return NO_LIMITS
        return Limits(**{field.name: getattr(self, field.name) for field in fields(Limits)})

    @property
    def hosts(self) -> frozenset[str]:
        """The names by which the server may be called. One that is public on the loopback has all names of that."""
        public = Target.parse(self.public_url).host
        return frozenset((public, *self.allowed_hosts, *(LOOPBACK if public in LOOPBACK else ())))


class ConsumerSettings(Settings):
    """What every service that consumes messages needs; stopping takes at most `shutdown_seconds`."""

    threads: PositiveInt = 8
    shutdown_seconds: PositiveFloat = 10.0


def from_environment(kind: type[AnySettings]) -> AnySettings:
    """The settings; if any is wrong, the process exits with a line for each that names the variable."""
    try:
        return kind()
    except ValidationError as error:
        exit_with(error_lines(error))


def error_lines(error: ValidationError) -> list[str]:
    """One line for each wrong setting."""
    lines = []
    for problem in error.errors():
        why = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:  # of several settings together
            lines.append(why)
            continue
        name = str(problem["loc"][0]).upper()
        lines.append(f"{name if CUSTOMARY.fullmatch(name) else f'HALFTONE_{name}'}: {why}")
    return lines


def exit_with(messages: Iterable[str]) -> NoReturn:
    """Exit with status 2, as for wrong settings, after one line for each distinct message."""
    sys.stderr.writelines(f"halftone: {message}\n" for message in dict.fromkeys(messages))
    raise SystemExit(2)
