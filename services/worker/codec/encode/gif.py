"""Write a GIF with one palette for all frames; the quality is the size of the palette.

The trap: with a palette per frame the still parts of an animation change by a shade from frame to frame, and every
frame is stored whole.
"""

import io

from PIL import Image

from services.worker.codec.palette import Palette, colours_for
from services.worker.codec.picture import Picture

_CLEAR_EACH_TIME = 2  # GIF's disposal "to background": the frame before must not show through holes
_LEAVE = 1


def encode_gif(picture: Picture, quality: int, _tries: int) -> bytes:
    stream = io.BytesIO()
    first, *rest = picture.frames
    if first.mode in {"1", "P"} and not rest and _few_colours(first, quality):
        _bare(first).save(stream, "GIF", optimize=True)
        return stream.getvalue()
    frames = [frame if frame.mode == "RGBA" else _opaque(frame) for frame in picture.frames]
    # The last of the 256 entries means "clear" or, within an animation, "as in the frame before".
    palette = Palette.of(frames, min(255, colours_for(quality)), partial=False)
    indexed = [palette.apply(frame) for frame in frames]
    if rest:
        _save_animation(stream, indexed, picture, clear=len(palette.entries), alpha=frames[0].mode == "RGBA")
    else:
        clear = {"transparency": len(palette.entries)} if frames[0].mode == "RGBA" else {}
        indexed[0].save(stream, "GIF", optimize=False, **clear)
    return stream.getvalue()


def _save_animation(
    stream: io.BytesIO, frames: list[Image.Image], picture: Picture, *, clear: int, alpha: bool
) -> None:
    table = _table(frames[0], clear)
    for frame in frames:
        frame.putpalette(table)
    repeats = {} if picture.plays == 1 else {"loop": max(0, picture.plays - 1)}
    frames[0].save(
        stream,
        "GIF",
        save_all=True,
        append_images=frames[1:],
        palette=table,
        optimize=True,
        transparency=clear,
        disposal=_CLEAR_EACH_TIME if alpha else _LEAVE,
        duration=[round(duration / 10) * 10 for duration in picture.durations],
        **repeats,
    )


def _table(frame: Image.Image, clear: int) -> bytes:
    """RGB entries, with a colour at `clear` that no other entry has: Pillow looks entries up by colour."""
    flat = bytes(frame.getpalette("RGB") or b"")[: 3 * clear]
    entries = {flat[at : at + 3] for at in range(0, len(flat), 3)}
    unused = next(bytes((255, level, 255)) for level in range(256) if bytes((255, level, 255)) not in entries)
    return flat + unused


def _few_colours(image: Image.Image, quality: int) -> bool:
    return image.getcolors(colours_for(quality)) is not None


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode == "P" and image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def _bare(image: Image.Image) -> Image.Image:
    """Without the source's comment, which Pillow would copy."""
    bare = image.copy()
    bare.info = {key: value for key, value in image.info.items() if key == "transparency"}
    return bare
