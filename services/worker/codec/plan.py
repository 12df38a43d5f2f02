"""What is to be done with one picture: the recipe, applied to what the source turned out to be."""

from dataclasses import dataclass, replace

from services.worker.codec.picture import Picture, has_transparency
from services.worker.codec.probe import Source
from shared.errors import TooManyPixels
from shared.recipe import Recipe, TargetFormat

ANIMATED = frozenset({"gif", "webp", "png", "avif"})
_REPLACED = frozenset({"bmp", "tiff"})
_MAX_SIDE = {"jpeg": 65_500, "webp": 16_383, "gif": 65_535}  # what the format's own header can say


@dataclass(frozen=True, slots=True)
class Plan:
    """`target` is None where only the decoded pixels tell (BMP and TIFF: PNG if something is transparent)."""

    target: str | None
    max_side: int | None  # None where nothing shrinks
    animated: bool
    only_quality: bool  # nothing else was to change: the source's own image data may stay

    @property
    def fixed_target(self) -> str:
        assert self.target is not None
        return self.target


def plan_for(source: Source, recipe: Recipe) -> Plan:
    """Raises `TooManyPixels` where the wanted format cannot hold the picture."""
    target = _target(source, recipe.format)
    longer = max(source.size)
    max_side = recipe.max_side if recipe.max_side is not None and recipe.max_side < longer else None
    can_hold = _MAX_SIDE.get(target or "jpeg", 65_535)
    if (max_side or longer) > can_hold:
        raise TooManyPixels(f"{target or 'jpeg'} holds at most {can_hold} pixels a side")
    return Plan(
        target=target,
        max_side=max_side,
        animated=source.frames > 1 and target in ANIMATED,
        only_quality=target == source.format and max_side is None and source.mode != "CMYK",
    )


def _target(source: Source, wanted: TargetFormat) -> str | None:
    if wanted is not TargetFormat.KEEP:
        return str(wanted.value)
    return None if source.format in _REPLACED else source.format


def settle_target(plan: Plan, picture: Picture) -> Plan:
    """BMP and TIFF become PNG where something in them is transparent, otherwise JPEG."""
    if plan.target is not None:
        return plan
    return replace(plan, target="png" if has_transparency(picture.frames[0]) else "jpeg")
