"""Private metadata are removed, also where the original image data stay; no pixel changes."""

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from services.worker.codec import compress
from services.worker.codec.metadata import without_metadata
from shared.recipe import Recipe, TargetFormat
from tests.pictures import animate, decode, encode, film, photo
from tests.unit.worker.codec.profiles import swapped_rgb

SECRET = b"SECRET-51.5N-0.1W"
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + SECRET + b"</x:xmpmeta>"


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[0x010F] = SECRET.decode()
    tags.get_ifd(0x8825)[1] = "N"
    return tags


def jpeg() -> bytes:
    body = encode(photo(64, 48), "jpeg", quality=80, exif=exif(), xmp=XMP, comment=SECRET, icc_profile=swapped_rgb())
    return body + SECRET + encode(photo(16, 16), "jpeg", exif=exif())


def progressive() -> bytes:
    return encode(photo(64, 48), "jpeg", quality=80, progressive=True, exif=exif(), comment=SECRET) + SECRET


def png() -> bytes:
    texts = PngInfo()
    texts.add_text("Author", SECRET.decode())
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    texts.add_text("Zip", SECRET.decode(), zip=False)
    texts.add(b"prVt", SECRET)
    return encode(photo(64, 48), "png", pnginfo=texts, exif=exif(), icc_profile=swapped_rgb()) + SECRET


def webp() -> bytes:
    return encode(photo(64, 48), "webp", quality=80, exif=exif(), xmp=XMP, icc_profile=swapped_rgb()) + SECRET


def avif() -> bytes:
    return encode(photo(64, 48), "avif", quality=60, exif=exif(), xmp=XMP, icc_profile=swapped_rgb())


def gif() -> bytes:
    body = animate(film(64, 48, 3), "gif", duration=70, loop=0, comment=SECRET)
    block = b"!\xff\x0bXMP DataXMP" + bytes((len(SECRET),)) + SECRET + b"\0"
    at = body.index(b"!\xf9")
    return body[:at] + block + body[at:] + SECRET


KINDS = {"jpeg": jpeg, "png": png, "webp": webp, "avif": avif, "gif": gif}


@pytest.mark.parametrize("image_format", KINDS)
def test_stripping_takes_the_secrets_and_no_pixel(image_format: str) -> None:
    source = KINDS[image_format]()
    assert SECRET in source
    stripped = without_metadata(source, image_format, 1)
    assert stripped is not None
    assert SECRET not in stripped
    before, after = decode(source), decode(stripped)
    assert after.tobytes() == before.tobytes()
    assert not after.getexif()
    assert "xmp" not in after.info
    assert after.info.get("icc_profile") == before.info.get("icc_profile")
    assert getattr(after, "n_frames", 1) == getattr(before, "n_frames", 1)
    assert after.info.get("loop") == before.info.get("loop")


def test_stripping_a_progressive_jpeg_keeps_all_its_scans() -> None:
    stripped = without_metadata(progressive(), "jpeg", 1)
    assert stripped is not None
    assert SECRET not in stripped
    assert decode(stripped).tobytes() == decode(progressive()).tobytes()


@pytest.mark.parametrize("image_format", KINDS)
@pytest.mark.parametrize("target", TargetFormat)
@pytest.mark.parametrize("quality", [30, 95])
def test_no_rendition_has_a_secret(image_format: str, target: TargetFormat, quality: int) -> None:
    made = compress(KINDS[image_format](), Recipe(quality=quality, format=target))
    assert SECRET not in made.body
    assert not decode(made.body).getexif()


@pytest.mark.parametrize("image_format", KINDS)
def test_stripping_twice_changes_nothing_more(image_format: str) -> None:
    once = without_metadata(KINDS[image_format](), image_format, 1)
    assert once is not None
    assert without_metadata(once, image_format, 1) == once


def test_a_thumbnail_within_jfif_goes() -> None:
    body = encode(photo(64, 48), "jpeg")
    thumbnail = body[:2] + b"\xff\xe0\x00\x13JFIF\0\1\1\0\0\1\0\1\1\1\xaa\xbb\xcc" + body[20:]
    assert decode(thumbnail).size == (64, 48)
    stripped = without_metadata(thumbnail, "jpeg", 1)
    assert stripped is not None
    assert b"\xaa\xbb\xcc" not in stripped[:40]
    assert decode(stripped).tobytes() == decode(body).tobytes()


@pytest.mark.parametrize("image_format", KINDS)
def test_stripping_a_file_that_is_cut_off_or_garbled_never_raises(image_format: str) -> None:
    source = KINDS[image_format]()
    for end in range(0, len(source), max(1, len(source) // 60)):
        without_metadata(source[:end], image_format, 6)
        without_metadata(source[:end] + b"\xff" * 16 + source[end + 16 :], image_format, 6)
