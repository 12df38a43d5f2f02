"""Turn the pixels the way the EXIF orientation tag says, so that the tag can be dropped."""

from typing import Final

from PIL import Image

from services.worker.codec.picture import Picture
from services.worker.codec.plan import Plan

_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def turn_upright(picture: Picture, _plan: Plan) -> Picture:
    turn = _TURNS.get(picture.orientation)
    if turn is None:
        return picture
    return picture.with_frames([frame.transpose(turn) for frame in picture.frames])
