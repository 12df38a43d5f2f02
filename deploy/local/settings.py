"""Settings of the local stack, read once from the environment; deploy/env.example is their manual."""

import ipaddress
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, ValidationInfo, field_validator

from deploy.migrations.settings import RolePasswords
from shared.settings import LOOPBACK, AllowedHosts, BlobUrl, DatabaseUrl, FetchAllow, PublicUrl, RedisUrl

ROOT = Path(__file__).resolve().parents[2]
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - compared, not bound
"""Addresses that stand for all of this machine's, each with one of them."""


def _customary(name: str) -> AliasChoices:
    return AliasChoices(name.upper(), name)


def _is_loopback(bind: str) -> bool:
    try:
        return ipaddress.ip_address(bind).is_loopback
    except ValueError:
        return bind == "localhost"


class LocalSettings(RolePasswords):
    """The stack starts no server of its own if the address of another one is given."""

    database_url: DatabaseUrl | None = Field(default=None, validation_alias=_customary("database_url"))
    redis_url: RedisUrl | None = Field(default=None, validation_alias=_customary("redis_url"))
    blob_url: BlobUrl | None = Field(default=None, validation_alias=_customary("blob_url"))
    blob_fallback_url: BlobUrl | None = None
    port: int = Field(default=8080, ge=1, le=65535)
    bind: str = "127.0.0.1"
    data_dir: Path = Path(".local")
    public_url: PublicUrl | None = None
    allowed_hosts: AllowedHosts = ()
    auth: Literal["off", "required"] | None = Field(default=None, validate_default=True)
    workers: int = Field(default=1, ge=1, le=64)
    local_fsync: Literal["on", "off"] = "on"
    fetch_allow: FetchAllow = ()
    demo_port: int = Field(default=8099, ge=1, le=65535)

    @field_validator("auth")
    @classmethod
    def _required_where_others_reach_it(cls, value: str | None, info: ValidationInfo) -> str:
        return value or ("off" if _is_loopback(str(info.data.get("bind", "127.0.0.1"))) else "required")

    @property
    def demo_origin(self) -> str:
        """`host:port` of the demo's server for pictures and webhooks."""
        return f"127.0.0.1:{self.demo_port}"

    @property
    def egress_allow(self) -> str:
        """`fetch_allow`, and the demo's origin if only this machine can reach the stack."""
        demo = [self.demo_origin] if self.is_loopback else []
        return ",".join(dict.fromkeys([*self.fetch_allow, *demo]))

    @property
    def hosts(self) -> str:
        """`allowed_hosts`, how this machine reaches the gateway, and the loopback's names if only it can."""
        here = urlsplit(self.base_url).hostname or ""
        names = dict.fromkeys([*self.allowed_hosts, here, *(LOOPBACK if self.is_loopback else ())])
        return ",".join(f"[{name}]" if ":" in name else name for name in names)

    @property
    def folder(self) -> Path:
        """The data folder; a relative path is relative to the project's root."""
        return ROOT / self.data_dir.expanduser()

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the gateway."""
        return _is_loopback(self.bind)

    @property
    def is_every_address(self) -> bool:
        """Whether the gateway listens on all addresses of this machine."""
        return self.bind in EVERY_ADDRESS

    @property
    def base_url(self) -> str:
        """Where this machine reaches the gateway."""
        host = EVERY_ADDRESS.get(self.bind, self.bind)
        return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{self.port}"
