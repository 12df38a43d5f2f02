"""The demo from the first picture to the last check, in the order in which a shop would see it."""

import errno
import secrets
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import cast

from rich.console import Console

from deploy.demo import catalogue, pictures, report, stack
from deploy.demo.checks import Rendition, Seen, check_all, images_by_name
from deploy.demo.origin import Exchange, Origin, status
from deploy.demo.receiver import Receiver
from deploy.demo.stack import DemoFailed
from deploy.local.settings import ROOT, LocalSettings
from halftone_client import Client, Delivery, Image, Refused, Request

OUTPUT = ROOT / "demo-output"
FINISHED_WITHIN = 180.0
WEBHOOK_WITHIN = 30.0
RECORDED_WITHIN = 10.0
EVERY = 0.1


def run(settings: LocalSettings, console: Console, *, key: str | None = None) -> bool:
    """Whether every promise held.

    Raises:
        DemoFailed, HalftoneError: it did not come to the end.

    """
    with origin_at(settings.demo_port) as origin:
        sources = _drawn()
        for name, body in sources.items():
            origin.add(f"/images/{name}", body)
        _write_inputs(settings, sources)
        _say(console, f"drew {len(sources)} product photos, served at {origin.url('/images/')}")
        client, account = _client(stack.bring_up(settings), key, console)
        receiver = Receiver(client.request, secret=stack.signing_secret(account))
        # A path of its own: a late delivery of an earlier demo must not be taken for this one's.
        webhook_url = origin.on(f"/webhooks/{secrets.token_hex(8)}", receiver)
        request = _upload(settings, client, webhook_url=webhook_url)
        _say(console, f"uploaded manifest.csv: request {request['request_id']}")
        request = _watch(client, request, console)
        _await_webhook(client, receiver, request)
        seen = _collect(settings, client, receiver, request, sources)
    return _show(client, seen, console)


def _client(base_url: str, key: str | None, console: Console) -> tuple[Client, str]:
    """A client that may do all that the demo does, and the name of its account."""
    client = Client(base_url, key=key)
    try:
        return client, client.account()["name"]
    except Refused as refusal:
        if refusal.status != HTTPStatus.UNAUTHORIZED or key:
            raise
    client = Client(base_url, key=stack.new_key())
    account = client.account()
    _say(console, f"the stack requires API keys: made ht_{account['key_id']}, which expires tomorrow")
    return client, account["name"]


def origin_at(port: int) -> Origin:
    """The server for the pictures and the webhook."""
    try:
        return Origin(port=port, otherwise=_unknown)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        why = "is taken" if error.errno == errno.EADDRINUSE else "may not be used by you"
        raise DemoFailed(f"port {port} on 127.0.0.1 {why}: set HALFTONE_DEMO_PORT to another one") from None


def _unknown(exchange: Exchange) -> None:
    """410 ends the deliveries of an earlier demo that was interrupted."""
    status(410 if exchange.request.method == "POST" else 404)(exchange)


def _drawn() -> dict[str, bytes]:
    """In threads, because Pillow releases the interpreter while it works."""
    names = [name for name in catalogue.files() if name != catalogue.MISSING]
    with ThreadPoolExecutor() as pool:
        return dict(zip(names, pool.map(pictures.draw, names, map(catalogue.size_of, names)), strict=True))


def _write_inputs(settings: LocalSettings, sources: Mapping[str, bytes]) -> None:
    """A fresh output folder with the pictures and the manifest."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    for folder in ("sources", "renditions"):
        (OUTPUT / folder).mkdir(parents=True)
    for name, body in sources.items():
        (OUTPUT / "sources" / name).write_bytes(body)
    (OUTPUT / "manifest.csv").write_bytes(catalogue.demo_manifest(settings.demo_origin))


def _upload(settings: LocalSettings, client: Client, *, webhook_url: str) -> Request:
    try:
        return client.submit(OUTPUT / "manifest.csv", new=True, webhook_url=webhook_url)
    except Refused as refusal:
        if refusal.code == "invalid_option":  # the stack's egress guard refuses the webhook's address
            raise DemoFailed(
                f"this stack may not fetch from {settings.demo_origin}: "
                f"`make stop`, then `make demo` (or start it with HALFTONE_FETCH_ALLOW={settings.demo_origin})"
            ) from None
        raise


def _watch(client: Client, request: Request, console: Console) -> Request:
    total = request["images"]["total"]
    with report.progress_bar(console) as bar:
        task = bar.add_task("compressing", total=total)
        return client.wait(
            request["request_id"],
            timeout=FINISHED_WITHIN,
            watch=lambda request: bar.update(task, completed=total - request["images"]["pending"]),
        )


def _deliveries(client: Client, request: Request) -> list[Delivery]:
    return list(client.deliveries(request["request_id"]))


def _await_webhook(client: Client, receiver: Receiver, request: Request) -> None:
    """Wait for the webhook and for its record in the API; the checks report what is missing."""
    if not receiver.wait(within=WEBHOOK_WITHIN):
        return
    deadline = time.monotonic() + RECORDED_WITHIN
    while time.monotonic() < deadline:
        if all(delivery["status"] == "delivered" for delivery in _deliveries(client, request)):
            return
        time.sleep(EVERY)


def _collect(
    settings: LocalSettings, client: Client, receiver: Receiver, request: Request, sources: Mapping[str, bytes]
) -> Seen:
    """Download what was made, and write down what was seen."""
    products = list(client.products(request["request_id"]))
    client.download_csv(request["request_id"], OUTPUT / "output.csv")
    return Seen(
        origin=settings.demo_origin,
        sources={name: len(body) for name, body in sources.items()},
        request=request,
        products=products,
        output_csv=(OUTPUT / "output.csv").read_bytes().decode(),
        renditions={
            name: _download(client, cast("Image", image), OUTPUT / "renditions" / name)
            for name, image in images_by_name(products).items()
            if image["output_url"]
        },
        arrivals=receiver.arrivals,
        deliveries=_deliveries(client, request),
    )


def _download(client: Client, image: Image, path: Path) -> Rendition:
    client.download(image, path)
    body = path.read_bytes()
    try:
        return Rendition(bytes=len(body), pixels=pictures.decode(body).size)
    except OSError:
        return Rendition(bytes=len(body), pixels=None)


def _show(client: Client, seen: Seen, console: Console) -> bool:
    checks = check_all(seen)
    console.print(report.table(seen))
    report.print_arrivals(console, seen)
    report.print_checks(console, checks)
    console.print()
    report.print_next_steps(console, client.base_url, seen, OUTPUT)
    failed = [check for check in checks if check.failure is not None]
    if failed:
        _say(console, f"the demo FAILED: {len(failed)} of {len(checks)} promises did not hold")
    return not failed


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True)
