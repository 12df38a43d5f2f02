"""The codec: bytes and a recipe in, a rendition out, with no other input or output.

The trap: the worker's parent process imports this package for its types, and Pillow belongs in the children alone.
So nothing here imports Pillow until `compress` is called.
"""

from services.worker.codec.model import FileInfo, Limits, Rendition
from shared.recipe import Recipe

__all__ = ["FileInfo", "Limits", "Rendition", "compress"]

_DEFAULT = Limits()


def compress(source: bytes, recipe: Recipe, limits: Limits = _DEFAULT) -> Rendition:
    """Make the rendition of `source`; raises an `ImageError` that says what is wrong with the picture."""
    from services.worker.codec.pipeline import run  # noqa: PLC0415 - see the trap above

    return run(source, recipe, limits)
