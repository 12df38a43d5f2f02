"""Compress one picture: probe, plan, decode, apply the steps, encode, compare with the original."""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Final

from services.worker.codec.decode import decode
from services.worker.codec.encode import ENCODERS
from services.worker.codec.guards import bounded, decoding
from services.worker.codec.metadata import without_metadata
from services.worker.codec.model import FileInfo, Limits, Rendition
from services.worker.codec.picture import Picture
from services.worker.codec.plain_jpeg import PlainJpeg
from services.worker.codec.plan import Plan, plans_for
from services.worker.codec.probe import Source, probe
from services.worker.codec.quality import best_fitting, jpeg_quality
from services.worker.codec.steps.colour import settle_colours
from services.worker.codec.steps.modes import flatten, simplify
from services.worker.codec.steps.orient import turn_upright
from services.worker.codec.steps.resize import shrink
from shared.recipe import Mode, Recipe

Step = Callable[[Picture, Plan], Picture]
STEPS: Final[tuple[Step, ...]] = (simplify, shrink, settle_colours, turn_upright, flatten)
_TRIES: Final = ((25e6, 8), (50e6, 5), (inf, 3))  # encodes that a search may take, by the pixels of all frames
_WORTH_STRIPPING = 2  # an output below half of the source is nearly always below the source without its metadata


def run(source: bytes, recipe: Recipe, limits: Limits) -> Rendition:
    with bounded(limits.max_pixels):
        with decoding():
            opened = probe(source, limits)
        renditions = [_rendition(opened, plan, recipe) for plan in plans_for(opened, recipe)]
        return min(renditions, key=_rank)


def _rank(rendition: Rendition) -> tuple[int, int]:
    """Of two formats the higher quality wins (they differ in mode `bytes` alone), then the smaller file."""
    return -(rendition.quality or 0), len(rendition.body)


def _rendition(opened: Source, plan: Plan, recipe: Recipe) -> Rendition:
    picture = PlainJpeg.of(opened, plan) or _prepared(opened, plan)
    source = FileInfo.of(opened.body, opened.format, opened.size)
    target = recipe.quality * source.bytes // 100 if recipe.mode is Mode.BYTES else None
    original = _original(opened, plan, picture) if target is not None else None
    if original is not None and target is not None and len(original) <= target:
        return _kept(original, source)
    quality, body = _encoded(opened, plan, picture, recipe, target)
    if plan.only_quality and original is None and len(body) * _WORTH_STRIPPING >= source.bytes:
        original = _original(opened, plan, picture)
    if original is not None and len(original) <= len(body):
        return _kept(original, source)
    info = FileInfo.of(body, plan.target, picture.size)
    return Rendition(body=body, info=info, source=source, quality=quality, kept_original=False)


def _prepared(source: Source, plan: Plan) -> Picture:
    with decoding():
        picture = decode(source, plan)
    for step in STEPS:
        picture = step(picture, plan)
    return picture


def _encoded(
    source: Source, plan: Plan, picture: Picture | PlainJpeg, recipe: Recipe, target: int | None
) -> tuple[int, bytes]:
    encode = picture.encode if isinstance(picture, PlainJpeg) else partial(ENCODERS[plan.target], picture)
    if target is not None:
        tries = next(tries for most, tries in _TRIES if picture.pixels <= most)
        return best_fitting(lambda quality: encode(quality, tries), target, max_encodes=tries)
    quality = recipe.quality
    if recipe.mode is Mode.RELATIVE:
        quality = max(1, min(95, round(_own_quality(source) * quality / 100)))
    return quality, encode(quality, 1)


def _own_quality(source: Source) -> int:
    layers, tables = getattr(source.image, "layer", None), getattr(source.image, "quantization", None)
    if source.format != "jpeg" or not layers or not tables:
        return 100
    return jpeg_quality(tables.get(layers[0][3]) or next(iter(tables.values())))


def _original(source: Source, plan: Plan, picture: Picture | PlainJpeg) -> bytes | None:
    """The source's image data without private metadata, where nothing but the quality was to change."""
    return without_metadata(source.body, source.format, picture.orientation) if plan.only_quality else None


def _kept(original: bytes, source: FileInfo) -> Rendition:
    info = FileInfo.of(original, source.format, (source.width, source.height))
    return Rendition(body=original, info=info, source=source, quality=None, kept_original=True)
