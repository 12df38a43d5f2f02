"""The options of an upload, from form fields, query parameters or JSON."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

from services.ingest.manifest.errors import shown
from shared.http.context import parse_boolean
from shared.http.problems import Problem
from shared.recipe import Mode, Recipe, TargetFormat
from shared.urls import Target, refusal

T = TypeVar("T")
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


def read_options(
    given: Mapping[str, Any], *, allow: tuple[str, ...], public_url: str | None = None, older: bool = False
) -> Options:
    """Empty values count as absent. `allow`: `host:port` pairs that webhooks may always use, but never `public_url`.

    The `older` contracts ignore unknown names, among them `validate_only`.

    Raises:
        Problem: 422, naming the option.

    """
    if not older:
        _refuse_unknown(given)
    webhook = partial(_webhook, allow, public_url)
    validate_only = None if older else given.get("validate_only")
    return Options(
        recipe=Recipe(
            quality=_option(given, "quality", partial(_integer, 95)) or DEFAULT_QUALITY,
            mode=_option(given, "mode", partial(_choice, Mode)) or Mode.ABSOLUTE,
            format=_option(given, "format", partial(_choice, TargetFormat)) or TargetFormat.KEEP,
            max_side=_option(given, "max_side", partial(_integer, MAX_SIDE)),
        ),
        webhook_url=_option(given, "webhook_url", webhook) or _option(given, "webhookUrl", webhook),
        on_invalid=_option(given, "on_invalid", partial(_choice, OnInvalid)) or OnInvalid.REJECT,
        validate_only=validate_only is not None and _converted("validate_only", validate_only, _boolean),
    )


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    for name in given:
        if name not in NAMES:
            detail = f"Unknown option {shown(name)[:200]!r}; the options are {', '.join(NAMES)}."
            raise Problem(422, "unknown_option", detail)


def _option(given: Mapping[str, Any], name: str, convert: Callable[[Any], T]) -> T | None:
    value = given.get(name)
    if isinstance(value, str):
        value = value.strip()
    return None if value is None or value == "" else _converted(name, value, convert)


def _converted(name: str, value: Any, convert: Callable[[Any], T]) -> T:
    try:
        return convert(value)
    except ValueError as error:
        requirement, *reason = error.args
        detail = f"The option {name} {requirement}; it was {shown(value)[:200]!r}."
        raise Problem(422, "invalid_option", " ".join((detail, *reason))) from None


def _integer(high: int, value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= high:
        raise ValueError(f"must be a whole number from 1 to {high}")
    return value


def _boolean(value: Any) -> bool:
    return parse_boolean(str(value) if isinstance(value, str | int) else "")


def _choice(kind: type[Choice], value: Any) -> Choice:
    try:
        return kind(value.lower() if isinstance(value, str) else value)
    except ValueError:
        raise ValueError(f"must be one of {', '.join(kind)}") from None


def _webhook(allow: tuple[str, ...], public_url: str | None, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a URL")  # noqa: TRY004 - as the other converters do
    if reason := refusal(value) or Target.parse(value).blocked(allow):
        raise ValueError("is refused", reason)
    if public_url and Target.parse(value).is_own(public_url, allow):
        raise ValueError("is refused", "It is this service's own address.")
    return value
