"""One encoder per format, each `(picture, quality, tries) -> bytes`.

`tries` is the number of encodes of this picture (more than one while a quality is searched for). The slow encoders
switch to a faster setting where pixels times tries would exceed the time limit.
"""

from collections.abc import Callable
from typing import Final

from services.worker.codec.encode.avif import encode_avif
from services.worker.codec.encode.gif import encode_gif
from services.worker.codec.encode.jpeg import encode_jpeg
from services.worker.codec.encode.png import encode_png
from services.worker.codec.encode.webp import encode_webp
from services.worker.codec.picture import Picture

ENCODERS: Final[dict[str, Callable[[Picture, int, int], bytes]]] = {
    "jpeg": encode_jpeg,
    "png": encode_png,
    "webp": encode_webp,
    "avif": encode_avif,
    "gif": encode_gif,
}
