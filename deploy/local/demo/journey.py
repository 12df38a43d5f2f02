"""The demo from the first picture to the last check, in the order in which a shop would see it."""

import secrets
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console

from deploy.local.demo import catalogue, pictures, report, stack
from deploy.local.demo.checks import Rendition, Seen, check_all
from deploy.local.demo.failure import DemoFailed
from deploy.local.demo.gateway import JSON, Gateway, Refused
from deploy.local.demo.origin import Origin
from deploy.local.demo.receiver import Receiver
from deploy.local.demo.settings import DemoSettings
from shared.lifecycle import RequestStatus

FINISHED_WITHIN = 180.0
WEBHOOK_WITHIN = 30.0
RECORDED_WITHIN = 10.0
EVERY = 0.1


def run(settings: DemoSettings, console: Console) -> bool:
    """Whether every promise held.

    Raises:
        DemoFailed: it did not come to the end.

    """
    sources: dict[str, bytes] = {}
    with Origin(settings.demo_port, sources) as origin:
        sources |= _drawn()
        _lay_out(settings, sources)
        _say(console, f"drew {len(sources)} product photos, served at http://{settings.demo_origin}/images/")
        gateway = Gateway(stack.bring_up(settings))
        receiver = Receiver(stack.signing_secret(), gateway.request)
        path = f"/webhooks/{secrets.token_hex(8)}"  # a late delivery of an earlier demo goes elsewhere
        origin.receivers[path] = receiver.receive
        request = _upload(settings, gateway, webhook_url=f"http://{settings.demo_origin}{path}")
        _say(console, f"uploaded manifest.csv: request {request['request_id']}")
        request = _watch(gateway, request, console)
        _await_webhook(gateway, receiver, request)
        seen = _collect(settings, gateway, receiver, request, sources)
    return _show(settings, gateway, seen, console)


def _drawn() -> dict[str, bytes]:
    """Pillow lets go of the interpreter while it works, so threads help."""
    names = [name for name in catalogue.files() if name != catalogue.MISSING]
    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(pictures.draw, names, map(catalogue.size_of, names)), strict=True))


def _lay_out(settings: DemoSettings, sources: Mapping[str, bytes]) -> None:
    """A fresh output folder with the pictures and the manifest."""
    shutil.rmtree(settings.output, ignore_errors=True)
    for folder in ("sources", "renditions"):
        (settings.output / folder).mkdir(parents=True)
    for name, body in sources.items():
        (settings.output / "sources" / name).write_bytes(body)
    (settings.output / "manifest.csv").write_bytes(catalogue.manifest(settings.demo_origin).encode())


def _upload(settings: DemoSettings, gateway: Gateway, *, webhook_url: str) -> JSON:
    try:
        return gateway.upload((settings.output / "manifest.csv").read_bytes(), webhook_url=webhook_url)
    except Refused as refusal:
        if refusal.status == 401:
            raise DemoFailed("this stack wants API keys; the demo needs one with HALFTONE_AUTH=off") from None
        if refusal.code == "invalid_option":  # the guard does not know the webhook's address
            raise DemoFailed(
                f"this stack was started without leave to fetch from {settings.demo_origin}: "
                f"`make stop`, then `make demo` (or start it with HALFTONE_FETCH_ALLOW={settings.demo_origin})"
            ) from None
        raise


def _watch(gateway: Gateway, request: JSON, console: Console) -> JSON:
    deadline = time.monotonic() + FINISHED_WITHIN
    with report.progress_bar(console) as bar:
        task = bar.add_task("compressing", total=request["images"]["total"])
        while not RequestStatus(request["status"]).terminal:
            if time.monotonic() > deadline:
                raise DemoFailed(f"the request is not finished after {FINISHED_WITHIN:.0f} s: {request['images']}")
            time.sleep(EVERY)
            request = gateway.request(request["request_id"])
            bar.update(task, completed=request["images"]["total"] - request["images"]["pending"])
    return request


def _await_webhook(gateway: Gateway, receiver: Receiver, request: JSON) -> None:
    """Until it is here and the API has written down that it was; what is missing then, the checks tell."""
    if not receiver.wait(within=WEBHOOK_WITHIN):
        return
    deadline = time.monotonic() + RECORDED_WITHIN
    while time.monotonic() < deadline:
        if all(one["status"] == "delivered" for one in gateway.items(request["request_id"], "deliveries")):
            return
        time.sleep(EVERY)


def _collect(
    settings: DemoSettings, gateway: Gateway, receiver: Receiver, request: JSON, sources: Mapping[str, bytes]
) -> Seen:
    """Download what was made, and write down what was seen."""
    products = gateway.items(request["request_id"], "products")
    output_csv = gateway.read(request["links"]["output_csv"])
    (settings.output / "output.csv").write_bytes(output_csv)
    images = {str(image["url"]).rpartition("/")[2]: image for product in products for image in product["images"]}
    folder = settings.output / "renditions"
    return Seen(
        origin=settings.demo_origin,
        sources={name: len(body) for name, body in sources.items()},
        request=request,
        products=products,
        output_csv=output_csv.decode(),
        renditions={
            name: _download(gateway, image["output_url"], folder / name)
            for name, image in images.items()
            if image["output_url"]
        },
        arrivals=receiver.arrivals,
        deliveries=gateway.items(request["request_id"], "deliveries"),
    )


def _download(gateway: Gateway, url: str, path: Path) -> Rendition:
    body = gateway.read(url)
    path.write_bytes(body)
    try:
        return Rendition(bytes=len(body), pixels=pictures.decoded_size(body))
    except OSError:
        return Rendition(bytes=len(body), pixels=None)


def _show(settings: DemoSettings, gateway: Gateway, seen: Seen, console: Console) -> bool:
    checks = check_all(seen)
    console.print(report.table(seen))
    report.print_arrivals(console, seen)
    report.print_checks(console, checks)
    console.print()
    report.print_next_steps(console, gateway.base_url, seen, settings.output)
    failed = [check for check in checks if check.failure is not None]
    if failed:
        _say(console, f"the demo FAILED: {len(failed)} of {len(checks)} promises did not hold")
    return not failed


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)
