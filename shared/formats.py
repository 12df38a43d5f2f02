"""The image formats Halftone knows: their names, file extensions and media types, in one place."""

from typing import Final

_NAMES = ("jpeg", "png", "webp", "avif", "gif", "bmp", "tiff")
MEDIA_TYPES: Final = {name: f"image/{name}" for name in _NAMES}
EXTENSIONS: Final = {name: name for name in _NAMES} | {"jpeg": "jpg"}
FORMATS: Final = {extension: name for name, extension in EXTENSIONS.items()}


def media_type_of(key: str) -> str:
    """By the extension of a rendition's key; a source has no extension, and what its host claimed is not trusted."""
    name = FORMATS.get(key.rpartition(".")[2])
    return MEDIA_TYPES[name] if name else "application/octet-stream"
