"""The client of Halftone: send a CSV of image URLs, follow it, take the compressed images.

from halftone_client import Client

with Client("http://127.0.0.1:8080") as client:
    request = client.wait(client.submit("products.csv")["request_id"])
    client.download_csv(request["request_id"], "out.csv")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from halftone_client.public import *  # noqa: F403 - its __all__


def __getattr__(name: str) -> Any:
    """Load the client when a name of it is asked for: the command must take a Ctrl-C before it has loaded anything."""
    return getattr(import_module("halftone_client.public"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})
