"""How much a few URLs that need several retries slow down a large request: the same request with and without them.

It compares the time until 98% are settled, because the last retried images wait for their schedule. The whole time is
printed too.
"""

import time

import pytest

from deploy.demo.catalogue import manifest
from deploy.demo.pictures import draw
from tests.api import JSON, Client
from tests.origin import Origin, body, status
from tests.stack import Stack

IMAGES = 5_000
FAILURES = 3
EVERY = 100
"""One URL in so many needs retries."""
MEASURED = 0.98
MOST_LOST = 0.10
PICTURE = draw("tiny.jpg", (24, 24))  # small, because the codec is not measured


@pytest.mark.bench
def test_urls_that_need_retries_cost_a_large_request_little(stack: Stack) -> None:
    """The order plain, flaky, flaky, plain cancels a load of the machine that grows or shrinks."""
    api = Client(stack.base_url)
    seconds = {False: 0.0, True: 0.0}
    with Origin(port=stack.host_ports[0]) as origin:
        _journey(api, origin, images=1_000, flaky=False)  # a warm-up
        for flaky in (False, True, True, False):
            most, whole = _journey(api, origin, images=IMAGES, flaky=flaky)
            name = f"1% fail {FAILURES} times" if flaky else "all good"
            print(f"\n{name}: {IMAGES * MEASURED / most:.0f} images/s, {most:.1f} s to 98%, {whole:.1f} s in all")
            seconds[flaky] += most
    lost = 1 - seconds[False] / seconds[True]
    print(f"lost: {lost:.1%}, at most {MOST_LOST:.0%} are promised")
    assert lost <= MOST_LOST


def _journey(api: Client, origin: Origin, *, images: int, flaky: bool) -> tuple[float, float]:
    """Seconds until 98%, and until all images were settled."""
    tag = time.time_ns()
    urls = [origin.add(f"/{tag}/{number}.jpg", PICTURE) for number in range(images)]
    for number in range(0, images if flaky else 0, EVERY):
        origin.on(f"/{tag}/{number}.jpg", *[status(503)] * FAILURES, body(PICTURE))
    products = [(str(number), "Product", urls[number : number + 10]) for number in range(0, images, 10)]
    begun, most = time.monotonic(), list[float]()

    def watch(request: JSON) -> None:
        if request["progress"] >= MEASURED:
            most.append(time.monotonic() - begun)

    request = api.finished(api.upload(manifest(products))["request_id"], within=3600, watch=watch)
    assert request["images"]["completed"] == images
    return most[0], most[-1]
