"""Lay a picture with transparency on white, for a target that has none."""

from PIL import Image

from services.worker.codec.picture import Picture
from services.worker.codec.plan import Plan


def flatten(picture: Picture, plan: Plan) -> Picture:
    if plan.target != "jpeg" or picture.frames[0].mode != "RGBA":
        return picture
    return picture.with_frames([_on_white(frame) for frame in picture.frames])


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=image.getchannel("A"))
    return white
