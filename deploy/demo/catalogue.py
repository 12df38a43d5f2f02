"""The demo's catalogue: ten products, 25 image URLs, one of them dead and one in two products."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HEADER = ("S. No.", "Product Name", "Input Image Urls")
OUTPUT_HEADER = (*HEADER, "Output Image Urls")
MISSING = "mug-handle.jpg"  # the origin answers 404
SHARED = "showroom.jpg"
SIZES = ((1000, 750), (800, 800), (750, 1000), (640, 480), (1200, 800))
PNG_SIZE = (640, 480)


@dataclass(frozen=True, slots=True)
class Product:
    """One row of the manifest; `files` are names at the origin."""

    serial_number: str
    name: str
    files: tuple[str, ...]


PRODUCTS = (
    Product("1", "Linen armchair", ("armchair-front.jpg", "armchair-side.jpg", "armchair-fabric.png")),
    Product("2", "Walnut side table", ("side-table.jpg", "side-table-top.webp")),
    Product("3", "Stoneware mug, blue", ("mug-front.jpg", MISSING, "mug-set.webp")),
    Product("4", "Wool throw", ("throw.jpg", "throw-fringe.png")),
    Product("5", "Brass desk lamp", ("lamp-on.webp", "lamp-off.webp", "lamp-scale.png")),
    Product("6", "Oak bookshelf", ("bookshelf.jpg", "bookshelf-corner.jpg", SHARED)),
    Product("7", "Glass carafe", ("carafe.png", "carafe-pour.webp")),
    Product("8", "Rattan basket", ("basket.jpg", "basket-weave.png")),
    Product("9", "Cotton cushion", ("cushion-front.jpg", "cushion-back.jpg", SHARED)),
    Product("10", "Ceramic planter", ("planter.webp", "planter-leaf.jpg", "planter-glaze.png")),
)


def files() -> list[str]:
    """Every distinct file name in order, the missing one included."""
    return list(dict.fromkeys(name for product in PRODUCTS for name in product.files))


def size_of(name: str) -> tuple[int, int]:
    """Width and height of a picture; PNGs are small, because a PNG of a photo is slow to write."""
    return PNG_SIZE if name.endswith(".png") else SIZES[files().index(name) % len(SIZES)]


def url_of(name: str, origin: str) -> str:
    """Where the picture is fetched; `origin` is `host:port`."""
    return f"http://{origin}/images/{name}"


def manifest(products: Iterable[tuple[str, str, Sequence[str]]]) -> bytes:
    """The CSV to upload, from serial numbers, names and URLs: the URLs of a product in one quoted cell."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADER)
    writer.writerows((serial_number, name, ",".join(urls)) for serial_number, name, urls in products)
    return text.getvalue().encode()


def demo_manifest(origin: str) -> bytes:
    """The CSV of the demo's products."""
    return manifest((p.serial_number, p.name, [url_of(name, origin) for name in p.files]) for p in PRODUCTS)
