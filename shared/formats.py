"""The image formats Halftone knows: their names, file extensions and media types, in one place."""

from typing import Final

MEDIA_TYPES: Final = {
    "jpeg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "tiff": "image/tiff",
}

EXTENSIONS: Final = {
    "jpeg": "jpg",
    "png": "png",
    "webp": "webp",
    "avif": "avif",
    "gif": "gif",
    "bmp": "bmp",
    "tiff": "tiff",
}


def media_type_of(key: str) -> str:
    """By the extension of a rendition's key; a source has no extension, and what its host claimed is not trusted."""
    extension = key.rpartition(".")[2]
    known = {EXTENSIONS[name]: media_type for name, media_type in MEDIA_TYPES.items()}
    return known.get(extension, "application/octet-stream")
