"""Write a PNG with a palette. The quality is the palette's size; a picture with no more colours loses nothing."""

import io

from PIL import Image

from services.worker.codec.palette import Palette, colours_for, exact
from services.worker.codec.picture import Picture

_SMALL = 300_000  # pixels that the slowest deflate still does in a few milliseconds


def encode_png(picture: Picture, quality: int, _tries: int) -> bytes:
    stream = io.BytesIO()
    first, *rest = _reduced(picture.frames, colours_for(quality))
    if rest:
        first.save(
            stream,
            "PNG",
            save_all=True,
            append_images=rest,
            default_image=False,
            duration=picture.durations,
            loop=picture.plays,
            disposal=0,
            blend=0,
            icc_profile=picture.icc,
        )
    else:
        first.save(stream, "PNG", optimize=picture.pixels <= _SMALL, icc_profile=picture.icc)
    return stream.getvalue()


def _reduced(frames: list[Image.Image], colours: int) -> list[Image.Image]:
    if len(frames) == 1:
        lossless = _without_loss(frames[0], colours)
        if lossless is not None:
            return [lossless]
        frames = [_expanded(frames[0])]
        if frames[0].mode == "RGBA" and frames[0].getcolors(colours) is None:
            # Pillow's octree: our palette is 3 to 5 dB better, but the file up to half as large again.
            return [frames[0].quantize(colours)]
    palette = Palette.of(frames, colours)
    return [palette.apply(frame) for frame in frames]


def _without_loss(image: Image.Image, colours: int) -> Image.Image | None:
    if image.mode == "1":
        return image
    if image.mode == "P":
        return image if image.getcolors(colours) is not None else None
    return exact(image, colours)


def _expanded(image: Image.Image) -> Image.Image:
    if image.mode != "P":
        return image
    return image.convert("RGBA" if image.has_transparency_data else "RGB")
