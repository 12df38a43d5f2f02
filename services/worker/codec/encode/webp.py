"""Write a lossy WebP with all frames."""

import io

from services.worker.codec.picture import Picture

_MUCH = 25_000_000  # pixels in all tries together: 0.08 s a megapixel below, 0.04 s above

_FLAGS, _HAS_ALPHA = 20, 0x10  # of the chunk VP8X, which comes first


def encode_webp(picture: Picture, quality: int, tries: int) -> bytes:
    stream = io.BytesIO()
    first, *rest = picture.frames
    # Not method 0 for a large still: at high qualities its first partition overflows ("encoding error 6").
    method = 4 if picture.pixels * tries <= _MUCH else 0 if rest else 2
    if not rest:
        first.save(stream, "WEBP", quality=quality, method=method, icc_profile=picture.icc)
        return stream.getvalue()
    first.save(
        stream,
        "WEBP",
        save_all=True,
        append_images=rest,
        quality=quality,
        method=method,
        duration=picture.durations,
        loop=picture.plays,
        background=(0, 0, 0, 0),  # otherwise Pillow takes the palette index that a GIF names for an RGBA value
        icc_profile=picture.icc,
    )
    body = stream.getvalue()
    return _with_alpha(body) if first.mode == "RGBA" else body


def _with_alpha(body: bytes) -> bytes:
    """Set the flag "alpha", which libwebp omits where each frame is an opaque part of a clear canvas."""
    return body[:_FLAGS] + bytes([body[_FLAGS] | _HAS_ALPHA]) + body[_FLAGS + 1 :] if body[12:16] == b"VP8X" else body
