"""What to do with one picture: the recipe, applied to what the source turned out to be."""

from dataclasses import dataclass

from services.worker.codec.guards import decoding
from services.worker.codec.picture import has_transparency, is_flat
from services.worker.codec.probe import Source
from shared.errors import TooManyPixels
from shared.recipe import Recipe, TargetFormat

_ANIMATED = frozenset({"gif", "webp", "png", "avif"})
_NOT_FOR_THE_WEB = frozenset({"bmp", "tiff"})
_MAX_SIDE = {"jpeg": 65_500, "webp": 16_383, "gif": 65_535}  # what the format's own header can say


@dataclass(frozen=True, slots=True)
class Plan:
    target: str
    max_side: int | None  # None where nothing shrinks
    animated: bool
    only_quality: bool  # nothing else was to change: the source's own image data may stay


def plans_for(source: Source, recipe: Recipe) -> list[Plan]:
    """Usually one; two where the encoded sizes decide between PNG and JPEG.

    Raises `TooManyPixels` where a wanted format cannot hold the picture.
    """
    return [_plan(source, recipe, target) for target in _targets(source, recipe.format)]


def _targets(source: Source, wanted: TargetFormat) -> tuple[str, ...]:
    """A BMP or TIFF becomes PNG if it has transparency, PNG or JPEG if it is flat, otherwise JPEG."""
    if wanted is not TargetFormat.KEEP:
        return (str(wanted.value),)
    if source.format not in _NOT_FOR_THE_WEB:
        return (source.format,)
    with decoding():
        source.image.load()
    if has_transparency(source.image):
        return ("png",)
    return ("png", "jpeg") if is_flat(source.image) else ("jpeg",)


def _plan(source: Source, recipe: Recipe, target: str) -> Plan:
    longer = max(source.size)
    max_side = recipe.max_side if recipe.max_side is not None and recipe.max_side < longer else None
    can_hold = _MAX_SIDE.get(target, 65_535)
    if (max_side or longer) > can_hold:
        raise TooManyPixels(f"{target} holds at most {can_hold} pixels a side")
    return Plan(
        target=target,
        max_side=max_side,
        animated=source.frames > 1 and target in _ANIMATED,
        only_quality=target == source.format and max_side is None and source.mode != "CMYK",
    )
