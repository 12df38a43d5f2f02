"""Which problems each call may be answered with; what they are is in the registry of `services.status.problems`."""

from collections.abc import Iterator, Sequence

from services.status.problems.registry import PROBLEM_TYPES

ANYWHERE = ("unknown_host", "too_many_at_once", "busy", "unavailable")
WITH_A_KEY = ("missing_key", "invalid_key", "missing_scope", "rate_limited", "too_many_unknown_keys")
WRITES = ("cross_site",)
CHARGED = {"createRequest", "retryRequest", "upload", "uploadCsv"}
"""Calls that the quotas of an account may refuse."""
USUAL = {
    400: ("invalid_parameter",),
    404: ("not_found",),
    408: ("slow_upload", "no_room"),
    409: ("conflict",),
    410: ("source_gone", "no_source", "storage_unavailable"),
    413: ("too_large",),
    416: ("range_not_satisfiable", "storage_unavailable"),
    422: ("invalid_option",),
}
"""What a call that may have this status may have; some bring one of another status with them."""
UPLOAD = (
    *("malformed", "incomplete_upload", "missing_file", "several_files", "invalid_idempotency_key", "slow_upload"),
    *("idempotency_key_in_flight", "too_large", "unsupported_media_type", "unsupported_charset", "invalid_manifest"),
    *("invalid_option", "idempotency_key_reused", "no_room"),
)
OWN: dict[str, tuple[str, ...]] = {
    "createRequest": (*UPLOAD, "unknown_option"),
    "upload": UPLOAD,
    "uploadCsv": UPLOAD,
    "retryRequest": ("conflict", "not_terminal", "nothing_to_retry"),
    "cancelRequest": ("conflict", "terminal"),
    "deleteRequest": ("conflict", "not_terminal"),
    "createKey": ("slow_upload", "too_many_keys", "too_large", "invalid_option", "no_room"),
    "rotateKey": ("slow_upload", "key_ended", "too_many_keys", "too_large", "invalid_option", "no_room"),
    "getOutputsZip": ("storage_unavailable",),
}
"""Instead of `USUAL`, besides 404."""
OLDER = {"upload", "uploadCsv"}
OLDER_REFUSALS = {400, 408, 409, 413, 415, 422}
"""Statuses that the older contracts answer with 400."""


def refusals(call: str, method: str, statuses: Sequence[int], *, needs_key: bool) -> dict[int, list[str]]:
    """The codes by status; `statuses`: those that the call may have besides the ones that every call may have."""
    found: dict[int, list[str]] = {}
    for code in dict.fromkeys(_codes(call, method, statuses, needs_key=needs_key)):
        status = PROBLEM_TYPES[code].status
        found.setdefault(400 if call in OLDER and status in OLDER_REFUSALS else status, []).append(code)
    return dict(sorted(found.items()))


def _codes(call: str, method: str, statuses: Sequence[int], *, needs_key: bool) -> Iterator[str]:
    yield from (code for status in statuses if call not in OWN or status == 404 for code in USUAL[status])
    yield from OWN.get(call, ())
    yield from ANYWHERE
    yield from WITH_A_KEY if needs_key else ()
    yield from WRITES if needs_key and method != "get" else ()
    yield from ("quota_used_up",) if call in CHARGED else ()
