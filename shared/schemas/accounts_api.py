"""The public JSON of accounts: keys, limits, the signing secret and the audit log; one class per shape. Pure."""

from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from shared.schemas import accounts
from shared.schemas.accounts import KeyScope
from shared.schemas.api import Shape, Time

MAX_OVERLAP = 30 * 24 * 3600
DAY = 24 * 3600
KeyId = Annotated[str, Field(json_schema_extra={"pattern": "^[a-z2-7]{12}$"})]
Limit = Annotated[int | None, Field(description="Null: none.")]


class Limits(Shape):
    """What the account may use: its own limits, and the server's where it has none of its own."""

    calls_per_second: Limit
    uploads_per_minute: Limit
    open_requests: Limit
    images_per_day: Limit
    stored_bytes: Limit


class Usage(Shape):
    """What counts against the limits now."""

    open_requests: int = Field(description="Unfinished requests.")
    images_today: int = Field(description="Images sent in or retried since the day (UTC) began.")
    day_ends_at: Time = Field(description="When images are counted from 0 again.")
    stored_bytes: int = Field(description="Of renditions.")


class Account(Shape):
    """The account of the key that asks, and what this key may do."""

    name: str
    key_id: str | None = Field(description="Null where the server needs no keys.")
    scopes: list[KeyScope]
    limits: Limits
    usage: Usage


class Key(Shape):
    """An API key, without its secret. It is valid until it expires or is revoked."""

    key_id: KeyId
    prefix: str = Field(description="What the key begins with, to find one that has leaked.")
    scopes: list[KeyScope]
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None = Field(description="To some minutes.")

    @classmethod
    def of(cls, row: accounts.ApiKey, **more: Any) -> Self:
        """`more`: the fields that a subclass has besides."""
        return cls(
            key_id=row.id,
            prefix=f"ht_{row.id}",
            scopes=[scope for scope in KeyScope if scope in row.scopes],
            created_at=row.created_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
            last_used_at=row.last_used_at,
            **more,
        )


class NewKey(Key):
    """A new API key. `key` is shown this once: only its digest is stored."""

    key: str


class SigningSecret(Shape):
    """The new secret that signs webhooks; the previous one signs as well until `previous_until`."""

    signing_secret: str
    previous_until: Time


class AuditEntry(Shape):
    """One act on the account, its keys or its signing secret."""

    id: UUID
    at: Time
    actor: str = Field(description="The id of the key that did it, `cli`, or `no-key` where the server needs none.")
    action: str
    target: str
    detail: dict[str, Any]


class Order(BaseModel):
    """What a call asks for; a field that is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class KeyOrder(Order):
    """A key to be made."""

    scopes: list[KeyScope] = Field(default=[KeyScope.READ, KeyScope.WRITE], min_length=1, max_length=len(KeyScope))
    expires_at: AwareDatetime | None = Field(default=None, description="At most ten years ahead; null: never.")


class RotationOrder(Order):
    """For how long the old key stays valid beside the new one."""

    overlap_seconds: int = Field(default=DAY, ge=0, le=MAX_OVERLAP)
