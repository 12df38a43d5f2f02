"""The options of an upload, from form fields, query parameters or JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

from services.ingest.manifest.errors import shown
from shared.http.context import parse_boolean
from shared.http.problems import Problem
from shared.recipe import Mode, Recipe, TargetFormat
from shared.urls import Target, refusal

Choice = TypeVar("Choice", bound=StrEnum)
DEFAULT_QUALITY = Recipe().quality
MAX_SIDE = 65_535
NAMES = ("quality", "mode", "format", "max_side", "webhook_url", "webhookUrl", "on_invalid", "validate_only")


class OnInvalid(StrEnum):
    """What happens to an upload with invalid rows."""

    REJECT = "reject"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All options with their defaults."""

    recipe: Recipe = field(default_factory=Recipe)
    webhook_url: str | None = None
    on_invalid: OnInvalid = OnInvalid.REJECT
    validate_only: bool = False

    @property
    def skip(self) -> bool:
        return self.on_invalid is OnInvalid.SKIP

    def normalised(self) -> dict[str, Any]:
        """The options that the idempotency hash covers; equal if they mean the same."""
        return asdict(self.recipe) | {"webhook_url": self.webhook_url, "on_invalid": self.on_invalid}


def read_options(given: Mapping[str, Any], *, allow: tuple[str, ...], older: bool = False) -> Options:
    """Empty values count as absent. `allow`: `host:port` pairs that webhooks may always use.

    The `older` contracts ignore unknown names, among them `validate_only`.

    Raises:
        Problem: 422, naming the option.

    """
    if not older:
        _refuse_unknown(given)
    recipe = Recipe(
        quality=_integer("quality", _value(given, "quality"), 1, 95) or DEFAULT_QUALITY,
        mode=_choice("mode", _value(given, "mode"), Mode.ABSOLUTE),
        format=_choice("format", _value(given, "format"), TargetFormat.KEEP),
        max_side=_integer("max_side", _value(given, "max_side"), 1, MAX_SIDE),
    )
    webhook_url = _value(given, "webhook_url")
    return Options(
        recipe=recipe,
        webhook_url=_webhook(_value(given, "webhookUrl") if webhook_url is None else webhook_url, allow),
        on_invalid=_choice("on_invalid", _value(given, "on_invalid"), OnInvalid.REJECT),
        validate_only=not older and _boolean("validate_only", given.get("validate_only")),
    )


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in NAMES:
            detail = f"Unknown option {shown(name)[:200]!r}; the options are {', '.join(NAMES)}."
            raise Problem(422, "unknown_option", detail)


def _value(given: Mapping[str, Any], name: str) -> Any:
    value = given.get(name)
    if isinstance(value, str):
        value = value.strip()
    return None if value == "" else value


def _integer(name: str, value: Any, low: int, high: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _refused(name, f"must be a whole number from {low} to {high}", value)
    return value


def _boolean(name: str, value: Any) -> bool:
    if value is None:
        return False
    try:
        return parse_boolean(str(value) if isinstance(value, str | int) else "")
    except ValueError as error:
        raise _refused(name, str(error), value) from None


def _choice(name: str, value: Any, default: Choice) -> Choice:
    if value is None:
        return default
    kind = type(default)
    try:
        return kind(value.lower() if isinstance(value, str) else value)
    except ValueError:
        raise _refused(name, f"must be one of {', '.join(kind)}", value) from None


def _webhook(value: Any, allow: tuple[str, ...]) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise _refused("webhook_url", "must be a URL", value)
    if reason := refusal(value) or Target.parse(value).blocked(allow):
        raise _refused("webhook_url", "is refused", value, why=f" {reason}")
    return value


def _refused(name: str, requirement: str, value: Any, *, why: str = "") -> Problem:
    detail = f"The option {name} {requirement}; it was {shown(value)[:200]!r}.{why}"
    return Problem(422, "invalid_option", detail)
