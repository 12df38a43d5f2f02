"""One encoder per format, each `(picture, quality, tries) -> bytes`.

`tries` is how many encodes the picture will see (more than one while a quality is searched for): the slow encoders
work less hard where pixels and tries would add up to more than the time limit.
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
