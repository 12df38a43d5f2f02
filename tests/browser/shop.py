"""A small shop on the image host: real pictures, some of which are missing, and its CSV."""

from functools import cache

from deploy.demo.catalogue import manifest
from tests.origin import Origin, status
from tests.pictures import cutout, encode, photo

PICTURES = {
    "shoe.jpg": (640, 480, "jpeg", {"quality": 95}),
    "hat.webp": (512, 512, "webp", {"quality": 92}),
    "bag.png": (480, 360, "png", {}),
    "scarf.jpg": (900, 600, "jpeg", {"quality": 97}),
    "tiny.jpg": (64, 64, "jpeg", {"quality": 20}),
}


@cache
def picture(name: str) -> bytes:
    width, height, format_name, options = PICTURES[name]
    draw = cutout if format_name == "png" else photo
    return encode(draw(width, height, seed=len(name)), format_name, **options)


class Shop:
    """Four products with six images, of which one is gone; `origin` may be told to behave otherwise."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        for name in PICTURES:
            origin.add(f"/{name}", picture(name))
        origin.on("/gone.jpg", status(404))

    def csv(self) -> bytes:
        url = self.origin.url
        return manifest(
            [
                ("1", "Canvas shoe", [url("/shoe.jpg"), url("/bag.png")]),
                ("2", "Felt hat", [url("/hat.webp")]),
                ("3", "Wool scarf", [url("/scarf.jpg"), url("/gone.jpg")]),
                ("4", "Button", [url("/tiny.jpg")]),
            ]
        )
