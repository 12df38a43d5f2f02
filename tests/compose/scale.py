"""`--scale worker=N` against a slow origin: how many more images N workers take in a second.

Each picture comes after `LATENCY`, and a worker has `THREADS` batches in hand, so that waiting is the limit and not the
cores that all containers and the origin share; N workers get N times the images.
"""

import time
from uuid import uuid4

import psutil

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from tests.api import Client
from tests.compose.compose import Compose
from tests.compose.engine import Failed
from tests.compose.faults import scale_to
from tests.compose.stack import ComposedStack, composed
from tests.origin import body, late

LATENCY = 1.5
THREADS = 1
IMAGES = 400
"""For each worker."""
COUNTS = (1, 2, 4)
LEAST = 0.9
"""Of linear."""
BUSY = 0.8
"""Of all cores: above it they are the limit, and the figure says nothing of the workers."""
FINISHED_WITHIN = 600.0
KNOWN_WITHIN = 6.0
"""Until all workers reckon with a new one, or without one that is gone: above fleet.ANNOUNCE_SECONDS."""


def check_scale(compose: Compose) -> None:
    """Two and four workers do at least `LEAST` of twice and four times the work of one; not to know it is a failure."""
    with composed(compose, settings={"HALFTONE_THREADS": str(THREADS)}) as stack:
        slow = late(body(draw("slow.jpg", (32, 32))), seconds=LATENCY)
        url, rates, complaints = stack.origin.on("/slow.jpg", slow), dict[int, float](), list[str]()
        for count in COUNTS:
            scale_to(stack, "worker", count)
            time.sleep(KNOWN_WITHIN)
            rates[count], busy = _rate(stack, url, count * IMAGES)
            share = rates[count] / (count * rates[1])
            figures = f"{count} workers {rates[count]:.1f} images/s, {share:.2f} of linear, cores {busy:.0%} busy"
            print(f"scale: {figures}", flush=True)
            if busy >= BUSY:
                complaints.append(f"{count} workers NOT JUDGED, the cores were {busy:.0%} busy: try a quiet machine")
            elif share < LEAST:
                complaints.append(f"{count} workers do {share:.2f} of {count} times the work of one")
    if complaints:
        raise Failed("; ".join(complaints))


def _rate(stack: ComposedStack, url: str, images: int) -> tuple[float, float]:
    """Images a second from the upload to the last image, and the share of all cores that was busy."""
    client, begun = Client(stack.base_url, key=stack.key), time.monotonic()
    urls = [f"{url}?{uuid4()}" for _ in range(images)]
    rows = manifest((str(number), f"Product {number}", [url]) for number, url in enumerate(urls))
    psutil.cpu_percent()
    request_id = client.upload(rows)["request_id"]
    request = client.finished(request_id, within=FINISHED_WITHIN)
    if request["images"]["completed"] != len(urls):
        raise Failed(f"not all images are there: {request['images']}")
    return len(urls) / (time.monotonic() - begun), psutil.cpu_percent() / 100
