"""What is in an image: its packages and a bill of them, its code, and no tool that builds or installs."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from shared.version import VERSION
from tests.compose.compose import PROJECT, SERVICES, Compose
from tests.compose.engine import Failed
from tests.stack import ROOT

IMAGES = (*SERVICES, "migrate")
CODEC = {"pillow", "numpy", "simplejpeg"}
HTTP = {"starlette", "uvicorn"}
NOT_IN = {
    "ingest": {"alembic", *CODEC},
    "status": {"alembic", "dramatiq", *CODEC},
    "worker": {"alembic", *HTTP},
    "notifier": {"alembic", *HTTP, *CODEC},
    "migrate": {"dramatiq", "obstore", *HTTP, *CODEC},
}
"""Packages that the code of an image has no use for."""
APP = {"pyproject.toml", "shared"}
LABELS = {"org.opencontainers.image.licenses": "MIT"}
CONTENTS = ROOT / "tests/compose/contents.py"
USER = "10001:10001"


def check_images(compose: Compose) -> None:
    """Each image holds what it needs and nothing else."""
    sizes = {name: _check_image(compose, name) for name in IMAGES}
    print("images: " + ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in sizes.items()))


def _check_image(compose: Compose, name: str) -> int:
    image = f"{PROJECT}-{name}"
    (facts,) = json.loads(compose.docker("image", "inspect", image))
    confined = ("run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL")
    look = ("--user", "0", "--volume", f"{CONTENTS}:/contents.py:ro", image, "python", "/contents.py")
    found = json.loads(compose.docker(*confined, *look))
    if complaints := [*_complaints(name, found, facts["Config"])]:
        raise Failed(f"the image of {name} " + "; it ".join(complaints))
    size: int = facts["Size"]
    return size


def _complaints(name: str, found: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    if held := NOT_IN[name] & found["packages"].keys():
        yield f"holds {', '.join(sorted(held))}"
    if found["tools"] or found["left over"]:
        yield f"holds {', '.join(found['tools'] + found['left over'])}"
    if found["bill"] != found["packages"]:
        yield "holds other packages than its bill of materials says"
    if config["User"] != USER:
        yield f"runs as {config['User'] or 'root'}"
    services, app = ([], {*APP, "deploy"}) if name == "migrate" else ([name], {*APP, "services"})
    if found["services"] != services or {*found["app"]} != app:
        yield f"holds the code of {', '.join(found['services'] or found['app'])}"
    says = {**LABELS, "org.opencontainers.image.title": f"Halftone {name}", "org.opencontainers.image.version": VERSION}
    if not says.items() <= config["Labels"].items():
        yield f"says of itself: {config['Labels']}"
    if found["version"] != VERSION:
        yield f"has the bill of materials of version {found['version']}"
