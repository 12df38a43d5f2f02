"""The tables of accounts: owners of requests with their keys, limits, usage and audit log."""

from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Column, DateTime, Index, Integer, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from shared.ids import uuid7


class KeyScope(StrEnum):
    """What a key may do. `ADMIN`: manage the keys and the signing secret of its own account."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


DEFAULT_ACCOUNT = UUID("00000000-0000-7000-8000-000000000001")
"""Owns every request where API keys are off."""
BOTH_SIGN = timedelta(hours=24)
"""After a rotation, so long does the previous signing secret sign as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much an account may use; None: as the settings say, and in the settings: without limit.

    Rates: `calls_per_second`, `uploads_per_minute`. Quotas: `open_requests` (unfinished ones), `images_per_day` (of
    UTC), `stored_bytes` (of renditions).
    """

    calls_per_second: int | None = None
    uploads_per_minute: int | None = None
    open_requests: int | None = None
    images_per_day: int | None = None
    stored_bytes: int | None = None

    def over(self, defaults: "Limits") -> "Limits":
        """These, and where they say nothing the defaults."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return Limits(**{name: getattr(defaults, name) if own[name] is None else own[name] for name in own})


NO_LIMITS = Limits()


def time_column(*, nullable: bool = True, default: bool = False) -> Any:
    """A field of time with zone; `default`: the time of the transaction."""
    column = Column(DateTime(timezone=True), nullable=nullable, server_default=text("now()") if default else None)
    return Field(default=None, sa_column=column)


class Account(SQLModel, table=True):
    """Owner of keys, requests and a signing secret (`whsec_...`); during a rotation the previous one signs too.

    The limits are None where the settings' own hold.
    """

    __tablename__ = "account"

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    name: str = Field(sa_type=Text, unique=True)
    signing_secret: str = Field(sa_type=Text)
    previous_secret: str | None = Field(default=None, sa_type=Text)
    previous_secret_until: datetime | None = time_column()
    configured_digest: str | None = Field(default=None, sa_type=Text)  # SHA-256 of the setting that was taken over last
    calls_per_second: int | None = Field(default=None, sa_type=Integer)
    uploads_per_minute: int | None = Field(default=None, sa_type=Integer)
    open_requests: int | None = Field(default=None, sa_type=Integer)
    images_per_day: int | None = Field(default=None, sa_type=BigInteger)
    stored_bytes: int | None = Field(default=None, sa_type=BigInteger)
    # Of the renditions of its finished requests: a trigger keeps the sum, as an account may have 100,000 of them.
    kept_bytes: int = Field(default=0, sa_type=BigInteger)
    created_at: datetime = time_column(nullable=False, default=True)


class ApiKey(SQLModel, table=True):
    """`ht_<id>_<secret>`; `digest` is the SHA-256 of the secret, which has 256 random bits, so it needs no salt."""

    __tablename__ = "api_key"
    __table_args__ = (Index("key_of_account", "account_id", "id"),)

    id: str = Field(primary_key=True, sa_type=Text)
    account_id: UUID = Field(foreign_key="account.id", ondelete="CASCADE")
    digest: str = Field(sa_type=Text)
    scopes: list[str] = Field(sa_column=Column(ARRAY(Text), nullable=False))
    created_at: datetime = time_column(nullable=False, default=True)
    expires_at: datetime | None = time_column()
    revoked_at: datetime | None = time_column()
    last_used_at: datetime | None = time_column()


class AuditEntry(SQLModel, table=True):
    """One act on accounts and keys. `actor` is a key's id, or `cli`."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index("audit_newest", "account_id", text("id DESC")),)

    id: UUID = Field(default_factory=uuid7, primary_key=True)
    account_id: UUID = Field(foreign_key="account.id", ondelete="CASCADE")
    actor: str = Field(sa_type=Text)
    action: str = Field(sa_type=Text)
    target: str = Field(sa_type=Text)
    detail: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    at: datetime = time_column(nullable=False, default=True)


class AccountUsage(SQLModel, table=True):
    """The images that an account sent in on a day (UTC)."""

    __tablename__ = "account_usage"

    account_id: UUID = Field(primary_key=True, foreign_key="account.id", ondelete="CASCADE")
    day: date = Field(primary_key=True)
    images: int = Field(default=0, sa_type=BigInteger)
