"""What can go wrong; every message is for a person."""

from collections.abc import Mapping
from typing import Any

from halftone_client.shapes import RowError


class HalftoneError(Exception):
    """The root of all errors of this package."""


class Unreachable(HalftoneError):
    """The service did not answer, or broke off, as often as it was tried."""


class NoEvents(HalftoneError):
    """No server-sent events come through; the request is asked for instead. Never raised, only told to `pause`."""


class Incomplete(HalftoneError):
    """A download ended before its end; nothing was written under its name."""


class Refused(HalftoneError):
    """An answer of 400 and above: a problem document (RFC 9457).

    `retry_after`: seconds after which the service asks to be called again, None if it does not say.
    """

    def __init__(self, status: int, problem: Mapping[str, Any], *, retry_after: float | None = None) -> None:
        self.status = status
        self.code = str(problem.get("code") or f"http_{status}")
        self.detail = str(problem.get("detail") or problem.get("title") or f"The service answered {status}.")
        self.errors: list[RowError] = list(problem.get("errors") or ())
        self.error_count = int(problem.get("error_count") or len(self.errors))
        self.retry_after = retry_after
        super().__init__(self.detail)
