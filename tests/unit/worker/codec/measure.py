"""How far two pictures are apart."""

from math import inf, log10

from PIL import Image, ImageChops, ImageStat


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Decibels over the colour channels; infinite where nothing differs."""
    assert one.size == other.size
    stat = ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB")))
    mean_square = sum(stat.sum2) / sum(stat.count)
    return 10 * log10(255**2 / mean_square) if mean_square else inf


def seen(image: Image.Image) -> list[Image.Image]:
    """The picture as a person sees it, on black and on white: differences under a clear pixel do not count."""
    rgba = image.convert("RGBA")
    return [Image.alpha_composite(Image.new("RGBA", rgba.size, ground), rgba) for ground in ("black", "white")]


def looks_like(one: Image.Image, other: Image.Image, *, decibels: float) -> bool:
    return all(psnr(a, b) >= decibels for a, b in zip(seen(one), seen(other), strict=True))
