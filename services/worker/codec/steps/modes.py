"""Reduce Pillow's two dozen pixel modes to the few that the later steps know: 1, L, P, RGB, RGBA, CMYK, LAB.

`simplify` comes first; `flatten` comes last, for a target without transparency. "P" and "1" stay only where the target
stores palette indexes and nothing is resized; an alpha channel only where a pixel is transparent. The trap: Pillow's
own `convert("L")` clips 16-bit grey at 255, so nearly everything comes out white; `_to_eight_bits` scales it.
"""

from PIL import Image, ImageMath

from services.worker.codec.picture import Picture, has_transparency
from services.worker.codec.plan import Plan

_INDEXED_TARGETS = frozenset({"png", "gif"})


def simplify(picture: Picture, plan: Plan) -> Picture:
    indexed = plan.target in _INDEXED_TARGETS and plan.max_side is None and not picture.animated
    frames = [_simple(frame, indexed=indexed) for frame in picture.frames]
    if len(frames) == 1:
        return picture.with_frames([_without_idle_alpha(frames[0])])
    mode = "RGBA" if any(has_transparency(frame) for frame in frames) else "RGB"
    return picture.with_frames([frame if frame.mode == mode else frame.convert(mode) for frame in frames])


def flatten(picture: Picture, plan: Plan) -> Picture:
    """Lay a picture with transparency on white, for a target that has none."""
    if plan.target != "jpeg" or picture.frames[0].mode != "RGBA":
        return picture
    return picture.with_frames([_on_white(frame) for frame in picture.frames])


def _simple(image: Image.Image, *, indexed: bool) -> Image.Image:
    if image.mode in {"RGB", "L"} and "transparency" not in image.info:
        return image
    if image.mode in {"RGBA", "CMYK", "LAB"} or (indexed and image.mode in {"1", "P"}):
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _simple_deep(image)
    if image.mode == "1" and "transparency" not in image.info:
        return image.convert("L")
    return image.convert("RGBA" if image.has_transparency_data or image.mode in {"LA", "La", "PA", "RGBa"} else "RGB")


def _simple_deep(image: Image.Image) -> Image.Image:
    """A 16-bit PNG may name one grey level that is transparent; so it is compared before the depth is reduced."""
    level = image.info.get("transparency")
    grey = _to_eight_bits(image)
    if not isinstance(level, int):
        return grey
    mask = ImageMath.lambda_eval(lambda its: its["convert"]((its["deep"] != level) * 255, "L"), deep=image.convert("I"))
    rgba = grey.convert("RGBA")
    rgba.putalpha(mask)
    return rgba


def _without_idle_alpha(image: Image.Image) -> Image.Image:
    return image.convert("RGB") if image.mode == "RGBA" and not has_transparency(image) else image


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """An "L" image from any of Pillow's deep grey modes (`I;16` and its variants, `I`, `F`)."""
    if image.mode.startswith("I;16"):
        return _scaled(image.convert("I"), 1 / 257)
    low, high = _extrema(image)
    if image.mode == "F":
        return _scaled(image, 255.0 if high <= 1 and low >= 0 else _step(high))
    return _scaled(image, _step(high))


def _step(high: float) -> float:
    """The factor for samples whose highest is `high`: the narrowest of 8, 16 and 32 bits that holds it."""
    for top in (255, 65_535):
        if high <= top:
            return 255 / top
    return 255 / (2**31 - 1) if high < 2**31 else 255 / high


def _scaled(image: Image.Image, factor: float) -> Image.Image:
    """`point` is given a linear function, which Pillow recognises and runs in C."""
    return image.point(lambda level: level * factor + 0.5).convert("L")


def _extrema(image: Image.Image) -> tuple[float, float]:
    extrema = image.getextrema()
    assert extrema is not None
    low, high = extrema
    assert not isinstance(low, tuple)
    assert not isinstance(high, tuple)
    return float(low), float(high)


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=image.getchannel("A"))
    return white
