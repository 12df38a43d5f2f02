"""Reduce more than eight bits a channel to eight.

The trap: Pillow's own `convert("L")` clips 16-bit grey at 255, so nearly everything comes out white.
"""

from PIL import Image


def to_eight_bits(image: Image.Image) -> Image.Image:
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
