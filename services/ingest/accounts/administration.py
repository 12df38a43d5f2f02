"""Changes of accounts and their keys, each in one transaction with its entry in the audit log."""

import re
import secrets
import string
from base64 import b64encode
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlmodel import Session, col, func, or_, select

from services.ingest.accounts.quotas import own_limits, set_limits
from shared.db import execute
from shared.http.authentication import KEY_ID, digest_of
from shared.http.problems import Problem, not_found
from shared.ids import uuid7
from shared.schemas.accounts import BOTH_SIGN, Account, ApiKey, AuditEntry, KeyScope, Limits
from shared.schemas.api import timestamp

CLI, NO_KEY = "cli", "no-key"
ID_LETTERS, ID_LENGTH = string.ascii_lowercase + "234567", 12
SECRET_LETTERS, SECRET_LENGTH = string.ascii_letters + string.digits, 43
"""256 bits, as 32 random bytes have. No `_`, which divides a key, and no `-`: a double click marks all of it."""
NAMED = re.compile(rf"(?:ht_)?({KEY_ID.pattern})(?:_\w*)?")
MAX_KEYS = 100
MAX_LIFE = timedelta(days=3653)


def new_signing_secret() -> str:
    return f"whsec_{b64encode(secrets.token_bytes(32)).decode()}"


def named_key(text: str) -> str | None:
    """The id in an id, a prefix (`ht_<id>`) or a whole key."""
    match = NAMED.fullmatch(text)
    return match[1] if match else None


def account_named(session: Session, name: str, *, actor: str) -> Account:
    """The account with this name, made if there is none."""
    account_id = uuid7()
    made = execute(
        session,
        """
        INSERT INTO account (id, name, signing_secret) VALUES (%(id)s, %(name)s, %(secret)s)
        ON CONFLICT (name) DO NOTHING RETURNING id
        """,
        {"id": account_id, "name": name, "secret": new_signing_secret()},
    )
    if made:
        record(session, account_id, actor, "account.created", name)
    return session.exec(select(Account).where(Account.name == name)).one()


def create_key(
    session: Session, account: UUID, scopes: Collection[KeyScope], *, expires_at: datetime | None, actor: str
) -> tuple[ApiKey, str]:
    """The new key, and its text, which is stored nowhere.

    Raises:
        Problem: 422 for `expires_at`, 409 if the account has MAX_KEYS valid keys.

    """
    now = _lock(session, account)
    if expires_at is not None and not now < expires_at <= now + MAX_LIFE:
        raise Problem(422, "invalid_option", "expires_at must lie ahead, by ten years at most.")
    _require_room(session, account)
    key, text = _add(session, account, scopes, created_at=now, expires_at=expires_at)
    record(session, account, actor, "key.created", key.id, scopes=key.scopes, expires_at=timestamp(expires_at))
    return key, text


def rotate_key(
    session: Session, account: UUID, key_id: str, *, overlap: timedelta, actor: str
) -> tuple[ApiKey, ApiKey, str]:
    """A new key with the same scopes and as long a life; the old one expires after `overlap`, if not before.

    Returns the new key, the old one, and the new one's text.

    Raises:
        Problem: 404, 409 if the key is not valid any more or the account has MAX_KEYS valid keys.

    """
    now = _lock(session, account)
    old = _own_key(session, account, key_id)
    if old.revoked_at or (old.expires_at and old.expires_at <= now):
        raise Problem(409, "key_ended", "This key is expired or revoked; create a new one.")
    _require_room(session, account)
    life = old.expires_at - old.created_at if old.expires_at else None
    key, text = _add(session, account, old.scopes, created_at=now, expires_at=now + life if life else None)
    old.expires_at = min(old.expires_at or now + overlap, now + overlap)
    record(session, account, actor, "key.rotated", old.id, new=key.id, expires_at=timestamp(old.expires_at))
    return key, old, text


def revoke_key(session: Session, account: UUID, key_id: str, *, actor: str) -> None:
    """Every process refuses it within seconds. Revoking twice is the same as once.

    Raises:
        Problem: 404.

    """
    now = _lock(session, account)
    key = _own_key(session, account, key_id)
    if key.revoked_at is None:
        key.revoked_at = now
        record(session, account, actor, "key.revoked", key.id)


def rotate_signing_secret(session: Session, account: UUID, *, actor: str) -> tuple[str, datetime]:
    """The new secret, and until when the previous one signs too. The one before that ends at once."""
    now, secret = _lock(session, account), new_signing_secret()
    until = now + BOTH_SIGN
    execute(
        session,
        """
        UPDATE account SET signing_secret = %(secret)s, previous_secret = signing_secret,
                           previous_secret_until = %(until)s
        WHERE id = %(id)s
        """,
        {"id": account, "secret": secret, "until": until},
    )
    record(session, account, actor, "signing_secret.rotated", str(account), previous_until=timestamp(until))
    return secret, until


def change_limits(session: Session, account: UUID, changes: Mapping[str, int | None], *, actor: str) -> Limits:
    """The account's own limits after these changes; None: the setting holds again."""
    before = own_limits(session, account, lock=True)
    after = replace(before, **changes)
    if after != before:
        set_limits(session, account, after)
        record(session, account, actor, "limits.changed", str(account), **changes)
    return after


def record(session: Session, account: UUID, actor: str, action: str, target: str, **detail: Any) -> None:
    """Write an entry of the audit log; no secret may stand in `detail`."""
    session.add(AuditEntry(account_id=account, actor=actor, action=action, target=target, detail=detail))


def _lock(session: Session, account: UUID) -> datetime:
    """One act on an account at a time; the time of the transaction."""
    query = select(func.now()).where(Account.id == account).with_for_update(key_share=True, of=Account)
    now: datetime = session.exec(query).one()
    return now


def _own_key(session: Session, account: UUID, key_id: str) -> ApiKey:
    key = session.exec(select(ApiKey).where(ApiKey.account_id == account, ApiKey.id == key_id)).one_or_none()
    if key is None:
        raise not_found("key")
    return key


def _require_room(session: Session, account: UUID) -> None:
    expires_at = col(ApiKey.expires_at)
    valid = col(ApiKey.revoked_at).is_(None) & or_(expires_at.is_(None), expires_at > func.now())
    count = session.exec(select(func.count()).select_from(ApiKey).where(ApiKey.account_id == account, valid)).one()
    if count >= MAX_KEYS:
        raise Problem(409, "too_many_keys", f"The account has {MAX_KEYS} valid keys; revoke one first.")


def _add(
    session: Session, account: UUID, scopes: Collection[str], *, created_at: datetime, expires_at: datetime | None
) -> tuple[ApiKey, str]:
    key_id, secret = _letters(ID_LETTERS, ID_LENGTH), _letters(SECRET_LETTERS, SECRET_LENGTH)
    key = ApiKey(
        id=key_id,
        account_id=account,
        digest=digest_of(secret),
        scopes=[scope for scope in KeyScope if scope in scopes],
        created_at=created_at,
        expires_at=expires_at,
    )
    session.add(key)
    session.flush()
    return key, f"ht_{key_id}_{secret}"


def _letters(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
