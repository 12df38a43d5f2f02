"""The table of `docs/images.md`: each kind of input and its rendition, made by running the codec.

`python -m tests.unit.worker.codec.kinds` rewrites the table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from services.worker.codec import Limits, compress
from shared.errors import ImageError
from shared.recipe import Recipe, TargetFormat
from tests.pictures import animate, arrow, cutout, decode, encode, film, photo
from tests.unit.worker.codec.interlaced import interlaced
from tests.unit.worker.codec.profiles import orange_cyan_cmyk, swapped_rgb
from tests.unit.worker.codec.test_alpha import bmp_with_alpha

PAGE = Path(__file__).parents[4] / "docs" / "images.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
HEAD = "| comes in | recipe | goes out | because |\n|---|---|---|---|\n"
PHOTO = photo(200, 150)
KEEP = Recipe()
NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    make: Callable[[], bytes]
    why: str
    recipe: Recipe = KEEP
    limits: Limits = NO_LIMITS

    def row(self) -> str:
        return f"| {self.name} | {_wish(self.recipe)} | {self.outcome()} | {self.why} |\n"

    def outcome(self) -> str:
        try:
            made = compress(self.make(), self.recipe, self.limits)
        except ImageError as error:
            return f"error `{error.code}`"
        image = decode(made.body)
        frames = getattr(image, "n_frames", 1)
        words = [made.info.format.upper()]
        words += ["grey"] if image.mode in {"L", "1"} else []
        words += [f"{frames} frames"] if frames > 1 else []
        words += ["transparent"] if image.has_transparency_data else []
        words += ["ICC profile"] if image.info.get("icc_profile") else []
        words += ["orientation tag"] if image.getexif() else []
        return ", ".join(words) + (", **original image data**" if made.kept_original else "")


def _wish(recipe: Recipe) -> str:
    side = f", `max_side={recipe.max_side}`" if recipe.max_side else ""
    return f"`{recipe.format}`{side}"


def _turned(quality: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(PHOTO, "jpeg", quality=quality, exif=exif)


def _sixteen_bit() -> bytes:
    grey = PHOTO.convert("L")
    return encode(Image.frombytes("I;16", grey.size, b"".join(bytes((v, v)) for v in grey.tobytes())), "png")


def _moving(image_format: str) -> bytes:
    return animate(film(120, 90, 6), image_format, duration=80)


TO = {wanted: Recipe(format=wanted) for wanted in TargetFormat}
SMALL = Recipe(max_side=100)

KINDS = (
    Kind("JPEG", lambda: encode(PHOTO, "jpeg", quality=90), "encoded at the quality asked for, 4:2:0"),
    Kind("JPEG, progressive", lambda: encode(PHOTO, "jpeg", quality=90, progressive=True), "baseline is half the work"),
    Kind("JPEG, grey", lambda: encode(PHOTO.convert("L"), "jpeg", quality=90), "grey stays grey"),
    Kind("JPEG, quality 20", lambda: encode(PHOTO, "jpeg", quality=20), "no encoding at 50 is smaller"),
    Kind("JPEG, quality 20", lambda: encode(PHOTO, "jpeg", quality=20), "a smaller size was asked for", SMALL),
    Kind("JPEG, EXIF orientation 6", lambda: _turned(90), "the pixels are turned, the tag goes"),
    Kind("JPEG, EXIF orientation 6, quality 20", lambda: _turned(20), "untouched image data need their tag"),
    Kind("JPEG, CMYK", lambda: encode(arrow(200, 150).convert("CMYK"), "jpeg"), "browsers do not agree on CMYK"),
    Kind(
        "JPEG, CMYK with a profile",
        lambda: encode(arrow(200, 150).convert("CMYK"), "jpeg", icc_profile=orange_cyan_cmyk()),
        "converted to sRGB through its profile",
    ),
    Kind(
        "JPEG with an RGB profile",
        lambda: encode(PHOTO, "jpeg", quality=90, icc_profile=swapped_rgb()),
        "kept up to 20 kB; a larger one is applied and left out",
    ),
    Kind("PNG, photo", lambda: encode(PHOTO, "png"), "a palette: quality 50 is 128 colours"),
    Kind("PNG, few colours", lambda: encode(PHOTO.quantize(30), "png"), "lossless, smaller at best"),
    Kind("PNG, interlaced", lambda: interlaced(PHOTO.convert("L")), "not interlaced any more: that costs bytes"),
    Kind("PNG, 16-bit grey", _sixteen_bit, "scaled to 8 bits, not clipped"),
    Kind("PNG, 1-bit", lambda: encode(arrow(200, 150).convert("1"), "png"), "stays as it is"),
    Kind("PNG with alpha", lambda: encode(cutout(200, 150), "png"), "the palette has entries with alpha"),
    Kind("PNG with alpha", lambda: encode(cutout(200, 150), "png"), "laid on white", TO[TargetFormat.JPEG]),
    Kind("PNG with alpha", lambda: encode(cutout(200, 150), "png"), "alpha stays", TO[TargetFormat.WEBP]),
    Kind("PNG whose alpha is all opaque", lambda: encode(PHOTO.convert("RGBA"), "png"), "an unused channel is dropped"),
    Kind("PNG, animated", lambda: _moving("png"), "every frame, one palette for all"),
    Kind("WebP", lambda: encode(PHOTO, "webp", quality=90), "encoded at the quality asked for"),
    Kind("WebP, lossless", lambda: encode(PHOTO, "webp", lossless=True), "the quality asked for is a lossy one"),
    Kind("WebP, animated", lambda: _moving("webp"), "every frame with its time, and how often it plays"),
    Kind("AVIF", lambda: encode(PHOTO, "avif", quality=90), "encoded at the quality asked for"),
    Kind("AVIF, animated", lambda: _moving("avif"), "every frame with its time; plays for ever"),
    Kind("GIF", lambda: encode(PHOTO, "gif"), "a smaller palette"),
    Kind("GIF, animated", lambda: _moving("gif"), "every frame, one palette for all"),
    Kind("GIF, animated", lambda: _moving("gif"), "every frame", TO[TargetFormat.WEBP]),
    Kind("GIF, animated", lambda: _moving("gif"), "JPEG knows no frames: the first", TO[TargetFormat.JPEG]),
    Kind("BMP, photo", lambda: encode(PHOTO, "bmp"), "no format for the web"),
    Kind("BMP with alpha", lambda: bmp_with_alpha(cutout(200, 150)), "JPEG has no alpha"),
    Kind("BMP, few colours", lambda: encode(arrow(200, 150), "bmp"), "flat: PNG or JPEG, the smaller is taken"),
    Kind("TIFF, photo (first page)", lambda: encode(PHOTO, "tiff"), "no format for the web"),
    Kind("TIFF with alpha", lambda: encode(cutout(200, 150), "tiff"), "JPEG has no alpha"),
    Kind("TIFF, 1-bit", lambda: encode(arrow(200, 150).convert("1"), "tiff"), "flat: the PNG is smaller, and exact"),
    Kind("TIFF, palette", lambda: encode(arrow(200, 150).quantize(9), "tiff"), "flat: the PNG is smaller, and exact"),
    Kind("TIFF, palette of a photo", lambda: encode(PHOTO.quantize(200), "tiff"), "the JPEG is smaller"),
    Kind("cut off or garbled", lambda: encode(PHOTO, "jpeg")[:3000], "half a picture is no result"),
    Kind("HTML, PDF, JSON, nothing", lambda: b"<!doctype html><html>", "judged by its first bytes, not by its name"),
    Kind(
        "SVG, HEIC, JPEG XL, PSD, ICO",
        lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "a picture of an unsupported kind",
    ),
    Kind(
        "more than 50 megapixels", lambda: encode(PHOTO, "png"), "checked before decoding", limits=Limits(max_pixels=9)
    ),
    Kind("more than 500 frames", lambda: _moving("gif"), "counted before decoding", limits=Limits(max_frames=5)),
    Kind("more than 20 MB", lambda: encode(PHOTO, "png"), "checked first of all", limits=Limits(max_bytes=9)),
)


def table() -> str:
    return HEAD + "".join(kind.row() for kind in KINDS)


def main() -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + table() + END + after)


if __name__ == "__main__":
    main()
