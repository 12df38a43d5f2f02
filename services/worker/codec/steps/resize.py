"""Shrink a picture so that its longer side has at most `max_side` pixels; nothing is ever enlarged."""

from PIL import Image

from services.worker.codec.picture import Picture
from services.worker.codec.plan import Plan


def shrink(picture: Picture, plan: Plan) -> Picture:
    if plan.max_side is None or max(picture.size) <= plan.max_side:
        return picture
    size = fitting(picture.size, plan.max_side)
    return picture.with_frames([frame.resize(size, Image.Resampling.LANCZOS) for frame in picture.frames])


def fitting(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    scale = min(1.0, max_side / max(size))
    return (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))
