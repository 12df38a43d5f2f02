"""Write an AVIF with all frames; an animation plays for ever, because Pillow cannot write a number of plays."""

import io

from services.worker.codec.picture import Picture

_SPEEDS = ((6_000_000, 6), (16_000_000, 8))  # at most so many pixels in all tries together: 0.4 and 0.2 s a megapixel
_FASTEST = 9  # 0.05 s a megapixel, a fifth more bytes


def encode_avif(picture: Picture, quality: int, tries: int) -> bytes:
    stream = io.BytesIO()
    speed = next((speed for most, speed in _SPEEDS if picture.pixels * tries <= most), _FASTEST)
    first, *rest = picture.frames
    first.save(
        stream,
        "AVIF",
        save_all=bool(rest),
        append_images=rest,
        quality=quality,
        speed=speed,
        max_threads=1,  # the pool has a process per core already
        duration=[max(1, round(duration)) for duration in picture.durations] if rest else 0,
        icc_profile=picture.icc or b"",
    )
    return stream.getvalue()
