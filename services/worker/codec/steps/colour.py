"""Keep an ICC profile where the rendition can carry it, otherwise convert the pixels to sRGB.

The trap: Pillow reads every CMYK JPEG as inverted, as Adobe writes them; without Adobe's marker they are not inverted.
"""

import io
from typing import Final

from PIL import Image, ImageChops, ImageCms

from services.worker.codec.picture import Picture
from services.worker.codec.plan import Plan

_CARRIES: Final = {
    "jpeg": ("RGB", "L"),
    "png": ("RGB", "RGBA", "L", "P", "1"),
    "webp": ("RGB", "RGBA"),
    "avif": ("RGB", "RGBA", "L"),
}
_SPACES: Final = {
    "RGB": b"RGB ",
    "RGBA": b"RGB ",
    "P": b"RGB ",
    "L": b"GRAY",
    "1": b"GRAY",
    "CMYK": b"CMYK",
    "LAB": b"Lab ",
}
_LARGE_PROFILE = 20_000  # bytes; a printer's lookup tables would outweigh the picture
_SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_LAB: Final = ImageCms.createProfile("LAB")


def settle_colours(picture: Picture, plan: Plan) -> Picture:
    """Afterwards no frame is CMYK or LAB, and `icc` fits the frames and the target, or is None."""
    mode = picture.frames[0].mode
    icc = fitting_profile(picture.icc, mode)
    if carries(icc, mode, plan):
        picture.icc = icc
        return picture
    picture.icc = None
    return picture.with_frames([_to_srgb(frame, icc) for frame in picture.frames])


def fitting_profile(icc: bytes | None, mode: str) -> bytes | None:
    """`icc` if it describes pixels of `mode`.

    A profile's header names its colour space at byte 16 and its own magic at byte 36 (ICC.1:2010, 7.2).
    """
    fits = icc is not None and len(icc) > 128 and icc[36:40] == b"acsp" and icc[16:20] == _SPACES.get(mode)
    return icc if fits else None


def carries(icc: bytes | None, mode: str, plan: Plan) -> bool:
    """Whether the target can hold pixels of `mode` with `icc` as they are."""
    if icc is None:
        return mode not in {"CMYK", "LAB"}
    return len(icc) <= _LARGE_PROFILE and mode in _CARRIES.get(plan.target, ())


def _to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        image = ImageChops.invert(image)
    profile = _opened(icc) if image.mode != "LAB" else ImageCms.ImageCmsProfile(_LAB)
    if profile is None:
        return image.convert("RGB") if image.mode == "CMYK" else image
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    opaque = image.convert("RGB") if image.mode in {"RGBA", "P"} else image
    converted = _transformed(opaque, profile)
    if converted is None:
        return image.convert("RGB") if image.mode == "CMYK" else image
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


def _opened(icc: bytes | None) -> ImageCms.ImageCmsProfile | None:
    try:
        return None if icc is None else ImageCms.ImageCmsProfile(io.BytesIO(icc))
    except (OSError, ImageCms.PyCMSError):
        return None


def _transformed(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image | None:
    """None where the profile is broken: colours without it are better than no picture."""
    try:
        return ImageCms.profileToProfile(
            image,
            profile,
            _SRGB,
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except ImageCms.PyCMSError:
        return None
