"""Reduce Pillow's two dozen pixel modes to the few that the later steps know: 1, L, P, RGB, RGBA, CMYK, LAB.

"P" and "1" stay only where the target stores palette indexes and nothing is resized; an alpha channel only where
a pixel is transparent.
"""

from PIL import Image, ImageMath

from services.worker.codec.picture import Picture, has_transparency
from services.worker.codec.plan import Plan
from services.worker.codec.steps.depth import to_eight_bits

_INDEXED_TARGETS = frozenset({"png", "gif"})


def simplify(picture: Picture, plan: Plan) -> Picture:
    indexed = plan.target in _INDEXED_TARGETS and plan.max_side is None and not picture.animated
    frames = [_simple(frame, indexed=indexed) for frame in picture.frames]
    if len(frames) == 1:
        return picture.with_frames([_without_idle_alpha(frames[0])])
    mode = "RGBA" if any(has_transparency(frame) for frame in frames) else "RGB"
    return picture.with_frames([frame if frame.mode == mode else frame.convert(mode) for frame in frames])


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
    grey = to_eight_bits(image)
    if not isinstance(level, int):
        return grey
    mask = ImageMath.lambda_eval(lambda its: its["convert"]((its["deep"] != level) * 255, "L"), deep=image.convert("I"))
    rgba = grey.convert("RGBA")
    rgba.putalpha(mask)
    return rgba


def _without_idle_alpha(image: Image.Image) -> Image.Image:
    return image.convert("RGB") if image.mode == "RGBA" and not has_transparency(image) else image
