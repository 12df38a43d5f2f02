"""The way of one picture: probed, planned, decoded, led through the steps, encoded, and compared with the original."""

from collections.abc import Callable
from math import inf
from typing import Final

from services.worker.codec.alpha import flatten
from services.worker.codec.colour import settle_colours
from services.worker.codec.decode import decode
from services.worker.codec.encode import ENCODERS
from services.worker.codec.estimate import jpeg_quality
from services.worker.codec.metadata import without_metadata
from services.worker.codec.model import Facts, Limits, Rendition, facts_of
from services.worker.codec.modes import simplify
from services.worker.codec.orient import turn_upright
from services.worker.codec.picture import Picture
from services.worker.codec.plan import Plan, plan_for, settle_target
from services.worker.codec.probe import Source, probe
from services.worker.codec.resize import shrink
from services.worker.codec.search import best_fitting
from services.worker.codec.trouble import bounded, decoding
from shared.recipe import Mode, Recipe

Step = Callable[[Picture, Plan], Picture]
STEPS: Final[tuple[Step, ...]] = (simplify, shrink, settle_colours, turn_upright, flatten)
_TRIES: Final = ((25e6, 8), (50e6, 5), (inf, 3))  # encodes that a search may take, by the pixels of all frames
_WORTH_A_LOOK = 2  # an output below half of the source is smaller than the source without its metadata, nearly always


def run(source: bytes, recipe: Recipe, limits: Limits) -> Rendition:
    with bounded(limits.max_pixels):
        with decoding():
            opened = probe(source, limits)
        plan = plan_for(opened, recipe)
        with decoding():
            picture = decode(opened, plan)
        plan = settle_target(plan, picture)
        for step in STEPS:
            picture = step(picture, plan)
        return _rendition(opened, plan, picture, recipe)


def _rendition(source: Source, plan: Plan, picture: Picture, recipe: Recipe) -> Rendition:
    facts = facts_of(source.body, source.format, source.size)
    target = recipe.quality * len(source.body) // 100 if recipe.mode is Mode.BYTES else None
    original = _original(source, plan, picture) if target is not None else None
    if original is not None and target is not None and len(original) <= target:
        return _kept(original, facts)
    quality, body = _encoded(source, plan, picture, recipe, target)
    if plan.only_quality and original is None and len(body) * _WORTH_A_LOOK >= len(source.body):
        original = _original(source, plan, picture)
    if original is not None and len(original) <= len(body):
        return _kept(original, facts)
    rendition = facts_of(body, plan.fixed_target, picture.size)
    return Rendition(body=body, facts=rendition, source=facts, quality=quality, kept_original=False)


def _encoded(source: Source, plan: Plan, picture: Picture, recipe: Recipe, target: int | None) -> tuple[int, bytes]:
    encode = ENCODERS[plan.fixed_target]
    if target is not None:
        tries = next(tries for most, tries in _TRIES if picture.pixels <= most)
        return best_fitting(lambda quality: encode(picture, quality, tries), target, max_encodes=tries)
    quality = recipe.quality
    if recipe.mode is Mode.RELATIVE:
        quality = max(1, min(95, round(_own_quality(source) * quality / 100)))
    return quality, encode(picture, quality, 1)


def _own_quality(source: Source) -> int:
    if source.format != "jpeg":
        return 100
    layers, tables = getattr(source.image, "layer", None), getattr(source.image, "quantization", None)
    if not layers or not tables:
        return 100
    return jpeg_quality(tables.get(layers[0][3]) or next(iter(tables.values())))


def _original(source: Source, plan: Plan, picture: Picture) -> bytes | None:
    """The source's image data without private metadata, where nothing but the quality was to change."""
    return without_metadata(source.body, source.format, picture.orientation) if plan.only_quality else None


def _kept(original: bytes, source: Facts) -> Rendition:
    facts = facts_of(original, source.format, (source.width, source.height))
    return Rendition(body=original, facts=facts, source=source, quality=None, kept_original=True)
