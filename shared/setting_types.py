"""What settings may look like, as pydantic types: a wrong one is found at the start, not by the first request."""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from shared.urls import host_port, refusal

BUCKETS = ("s3", "gs", "az")


def _database(url: str) -> str:
    """Judged as it is used: a password may hold characters that other parsers take for the end of the host."""
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
    try:
        parts = urlsplit(url)
        complete = "://" in url and parts.scheme in schemes and parts.port != 0
    except ValueError:  # the port is no number
        raise ValueError(f"must be {wanted}") from None
    if not complete:
        raise ValueError(f"must be {wanted}")
    return parts


def _public(url: str) -> str:
    if refusal(url) or urlsplit(url).query or urlsplit(url).fragment:
        raise ValueError("must be an address like https://halftone.example")
    return url.rstrip("/")


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _pair(text: str) -> str:
    url = f"http://{text}"
    if not re.search(r":[0-9]{1,5}$", text) or refusal(url) or urlsplit(url).netloc != text:
        raise ValueError("must be host:port, or several with commas")
    return host_port(url)


def _signing_secret(text: str) -> str:
    try:
        key = b64decode(text.removeprefix("whsec_"), validate=True)
    except (NotBase64, ValueError):
        key = b""
    if not text.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ValueError("must be whsec_ and 24 to 64 bytes in base64")
    return text


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


DatabaseUrl = Annotated[str, AfterValidator(_database)]
RedisUrl = Annotated[str, AfterValidator(_redis)]
BlobUrl = Annotated[str, AfterValidator(_blobs)]
PublicUrl = Annotated[str, AfterValidator(_public)]
HostPort = Annotated[str, AfterValidator(_pair)]
FetchAllow = Annotated[tuple[HostPort, ...], NoDecode, BeforeValidator(_split)]
SigningSecret = Annotated[str, AfterValidator(_signing_secret)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error", "critical"], BeforeValidator(_lower)]
LogFormat = Annotated[Literal["text", "json"], BeforeValidator(_lower)]
Port = Annotated[int, Field(ge=0, le=65535)]
Duration = Annotated[timedelta, Field(gt=timedelta(0))]
"""Longer than nothing; ISO 8601, or seconds."""
