"""Quotas of an account: unfinished requests, images a day, bytes stored. The database decides, where it accepts."""

import math
from uuid import UUID

from sqlmodel import Session

from shared.db import execute
from shared.http.limits import REFUSED
from shared.http.problems import Problem
from shared.schemas.accounts import Limits
from shared.usage import Usage, usage

SOON = 60
"""`Retry-After` in seconds where a request has to finish first, which may be at any time."""
LATER = 3600
"""`Retry-After` in seconds where requests have to be deleted first."""


def check(session: Session, account: UUID, images: int, defaults: Limits) -> None:
    """Refuse early what `charge` would refuse: before a million rows are stored.

    Raises:
        Problem: 429.

    """
    limits = own_limits(session, account).over(defaults)
    _require_room(usage(session, account), limits, images=images, requests=1)


def charge(session: Session, account: UUID, images: int, defaults: Limits) -> None:
    """Count a request that this transaction has made unfinished, and its images; or refuse it.

    Locks the account until the commit, so that of uploads at the same time no more are accepted than the quotas allow:
    must be the last thing that a transaction does.

    Raises:
        Problem: 429.

    """
    limits = own_limits(session, account, lock=True).over(defaults)
    used = usage(session, account)
    _require_room(used, limits, images=images, requests=0)
    execute(
        session,
        """
        INSERT INTO account_usage (account_id, day, images) VALUES (%(account)s, %(day)s, %(images)s)
        ON CONFLICT (account_id, day) DO UPDATE SET images = account_usage.images + excluded.images
        """,
        {"account": account, "day": used.day, "images": images},
    )


def own_limits(session: Session, account: UUID, *, lock: bool = False) -> Limits:
    """Read anew: cached ones may be some seconds old. The lock leaves foreign keys to the account checkable."""
    rows = execute(
        session,
        f"""
        SELECT calls_per_second, uploads_per_minute, open_requests, images_per_day, stored_bytes
        FROM account WHERE id = %(account)s {"FOR NO KEY UPDATE" if lock else ""}
        """,  # noqa: S608 - a constant of ours
        {"account": account},
    )
    return Limits(**rows[0])


def set_limits(session: Session, account: UUID, limits: Limits) -> None:
    """The account's own limits; None: those of the settings hold. Processes know them within seconds."""
    execute(
        session,
        """
        UPDATE account SET calls_per_second = %(calls)s, uploads_per_minute = %(uploads)s,
                           open_requests = %(open)s, images_per_day = %(images)s, stored_bytes = %(bytes)s
        WHERE id = %(account)s
        """,
        {
            "account": account,
            "calls": limits.calls_per_second,
            "uploads": limits.uploads_per_minute,
            "open": limits.open_requests,
            "images": limits.images_per_day,
            "bytes": limits.stored_bytes,
        },
    )


def _require_room(used: Usage, limits: Limits, *, images: int, requests: int) -> None:
    """`requests`: how many more are to come than are stored already."""
    until_tomorrow = math.ceil((used.day_ends_at - used.now).total_seconds())
    if limits.open_requests is not None and used.open_requests + requests > limits.open_requests:
        unfinished = used.open_requests + requests - 1
        raise _used_up(
            "open_requests",
            limits.open_requests,
            unfinished,
            f"Your account has {unfinished:,} unfinished requests and may have {limits.open_requests:,}; "
            "there is room for another one as soon as one finishes or is cancelled.",
            retry_after=SOON,
        )
    if limits.images_per_day is not None and used.images_today + images > limits.images_per_day:
        raise _used_up(
            "images_per_day",
            limits.images_per_day,
            used.images_today,
            f"Your account has sent {used.images_today:,} of {limits.images_per_day:,} images today, and this request "
            f"has {images:,}; the quota renews at {used.day_ends_at:%Y-%m-%dT%H:%M:%SZ}.",
            retry_after=until_tomorrow,
        )
    if limits.stored_bytes is not None and used.stored_bytes >= limits.stored_bytes:
        raise _used_up(
            "stored_bytes",
            limits.stored_bytes,
            used.stored_bytes,
            f"Your account's renditions take {used.stored_bytes:,} of {limits.stored_bytes:,} bytes; there is room "
            "again when requests have been deleted.",
            retry_after=LATER,
        )


def _used_up(quota: str, limit: int, used: int, detail: str, *, retry_after: int) -> Problem:
    REFUSED.labels("quota", quota).inc()
    headers = {"Retry-After": str(retry_after)}
    return Problem(429, "quota_used_up", detail, headers=headers, quota=quota, limit=limit, used=used)
