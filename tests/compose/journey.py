"""One request from upload to output, with a new key and both workers at it."""

import json
import re
from pathlib import Path

from deploy.demo import pictures
from deploy.demo.catalogue import manifest
from tests.api import Client
from tests.compose.compose import BASE_URL, Compose
from tests.compose.engine import Failed
from tests.compose.keys import new_key

IMAGES = 400
PICTURES = 40
FINISHED_WITHIN = 180.0


def draw_pictures(folder: Path) -> None:
    """Write the files that the origin serves."""
    folder.chmod(0o755)
    for number in range(1, PICTURES + 1):
        name = f"{number}.jpg"
        (folder / name).write_bytes(pictures.draw(name, (300, 300)))


def check_journey(compose: Compose) -> None:
    """Every image of a request is compressed, and each of two workers did some."""
    client = Client(BASE_URL, key=new_key(compose))
    urls = [f"http://origin:8000/{number % PICTURES + 1}.jpg?{number}" for number in range(IMAGES)]
    accepted = client.upload(manifest((str(number), f"Product {number}", [url]) for number, url in enumerate(urls)))
    finished = client.finished(accepted["request_id"], within=FINISHED_WITHIN)
    if (finished["status"], finished["outcome"]) != ("completed", "success"):
        raise Failed(f"the request ended as {json.dumps(finished)}")
    image = next(client.items(f"/v1/requests/{accepted['request_id']}/images"))
    width, height = pictures.decode(client.read(image["output_url"])).size
    print(f"one of {IMAGES} renditions: {image['rendition']['bytes']} bytes, {width} x {height} pixels")
    for number in (1, 2):
        print(f"worker {number} compressed {_batches(compose, number):.0f} batches")


def _batches(compose: Compose, number: int) -> float:
    script = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000/metrics').read().decode())"
    shown = compose("exec", "-T", "--index", str(number), "worker", "python", "-c", script, capture=True)
    batches = r'^halftone_messages_total{actor="worker.compress_batch",outcome="done"} (\S+)$'
    counts = re.findall(batches, shown, re.MULTILINE)
    if not counts:
        raise Failed(f"worker {number} compressed nothing")
    return float(counts[0])
