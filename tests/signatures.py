"""Signatures of calls to S3 (AWS Signature Version 4), in headers and in signed addresses. Nothing but Python."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote, urlsplit

SKEW = timedelta(minutes=15)


def refusal(
    method: str, path: str, headers: Mapping[str, str], *, key: tuple[str, str], clock: timedelta = timedelta()
) -> tuple[int, str] | None:
    """What S3 says to a wrong signature; None for a right one. `key` is the key's id and its secret."""
    named = {name.lower(): " ".join(value.split()) for name, value in headers.items()}
    parts = urlsplit(path)
    pairs = [pair.partition("=")[::2] for pair in parts.query.split("&") if pair]
    given = {unquote(name): unquote(value) for name, value in pairs}
    now = datetime.now(UTC) + clock
    if "authorization" in named:
        given = dict(part.strip().split("=", 1) for part in named["authorization"].partition(" ")[2].split(","))
        credential, signed, signature = given["Credential"], given["SignedHeaders"], given["Signature"]
        date, payload, lifetime = named["x-amz-date"], named["x-amz-content-sha256"], None
    elif "X-Amz-Signature" in given:
        credential, signed = given["X-Amz-Credential"], given["X-Amz-SignedHeaders"]
        signature, date, payload = given["X-Amz-Signature"], given["X-Amz-Date"], "UNSIGNED-PAYLOAD"
        lifetime = timedelta(seconds=int(given["X-Amz-Expires"]))
    else:
        return 403, "AccessDenied"
    at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    key_id, *scope = credential.split("/")
    if key_id != key[0]:
        return 403, "InvalidAccessKeyId"
    if abs(now - at) > SKEW and lifetime is None:
        return 403, "RequestTimeTooSkewed"
    query = "&".join(sorted("=".join(pair) for pair in pairs if pair[0] != "X-Amz-Signature"))
    lines = "".join(f"{name}:{named.get(name, '')}\n" for name in signed.split(";"))
    canonical = f"{method}\n{parts.path}\n{query}\n{lines}\n{signed}\n{payload}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{date}\n{'/'.join(scope)}\n{digest}"
    if not hmac.compare_digest(_signature(key[1], scope, text), signature):
        return 403, "SignatureDoesNotMatch"
    return (403, "AccessDenied") if lifetime is not None and now > at + lifetime else None


def _signature(secret: str, scope: list[str], text: str) -> str:
    key = f"AWS4{secret}".encode()
    for part in scope:
        key = _hmac(key, part)
    return _hmac(key, text).hex()


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
