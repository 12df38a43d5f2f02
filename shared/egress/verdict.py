"""What an image host's answer means: a body to read, another place to go, or one of our errors. No I/O."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from shared.egress.target import Target, parse_target
from shared.errors import HttpProtocol, HttpStatus, HttpStatusTransient, ImageError, TooLarge

REDIRECTS = frozenset((301, 302, 303, 307, 308))
TRANSIENT = frozenset((408, 425, 429))
MAX_RETRY_AFTER = 3600.0


def redirect_target(status: int, headers: Mapping[str, str], came_from: Target) -> Target | None:
    """Where a redirect leads, checked by its form like the first URL; None for anything else."""
    location = headers.get("location")
    if status not in REDIRECTS or not location:
        return None
    try:
        return parse_target(came_from.url.join(_as_text(location)))
    except (httpx.InvalidURL, ValueError) as error:  # httpx's join lets the standard library's through
        raise HttpProtocol(f"{came_from.host} redirects to something that is not a URL.") from error


def _as_text(location: str) -> str:
    """Some hosts send raw UTF-8, which header parsing has read as latin-1; browsers take it as UTF-8."""
    try:
        return location.encode("latin-1").decode()
    except UnicodeDecodeError:
        return location


def status_error(status: int, headers: Mapping[str, str], host: str, *, now: datetime) -> ImageError | None:
    """None for 200."""
    if status == 200:
        return None
    detail = f"{host} answered {status}."
    if status in TRANSIENT or status >= 500:
        return HttpStatusTransient(detail, retry_after=retry_after(headers.get("retry-after"), now=now))
    return HttpStatus(detail)


def check_body(headers: Mapping[str, str], host: str, *, max_bytes: int) -> None:
    """Refuse by the headers what need not be read: a coded body (we asked for none), one that is too large."""
    coding = headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise HttpProtocol(f"{host} sent a body with Content-Encoding {coding[:40]}, which was not asked for.")
    length = content_length(headers)
    if length is not None and length > max_bytes:
        raise too_large(host, max_bytes)


def too_large(host: str, max_bytes: int) -> TooLarge:
    return TooLarge(f"{host} sent more than {max_bytes} bytes.")


def content_length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None


def retry_after(value: str | None, *, now: datetime, most: float = MAX_RETRY_AFTER) -> float | None:
    """Seconds from `Retry-After` (seconds or an HTTP date, RFC 9110 10.2.3), between 0 and `most`."""
    if not value:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:10]), most)
    try:
        then = parsedate_to_datetime(value)
    except (ValueError, IndexError, OverflowError):
        return None
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return min(max((then - now).total_seconds(), 0.0), most)
