"""`python -m tests.browser.pictures`: make the README's two pictures of the page anew, of the demo's catalogue."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from deploy.demo import catalogue, pictures
from tests import programs
from tests.browser.conftest import FLAGS
from tests.browser.steps import compare, finished, upload
from tests.origin import Origin
from tests.stack import ROOT, Stack

FOLDER = ROOT / "docs" / "pictures"
MOST_BYTES = 250_000
COLOURS = 256
ZOOMS = 2  # after 100%: what the compression took away is seen


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="halftone-") as folder, sync_playwright() as playwright:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user
        with Stack(Path(folder) / "stack") as stack, Origin(port=stack.host_ports[0]) as origin:
            browser = playwright.chromium.launch(executable_path=programs.path("chromium"), args=FLAGS)
            page = browser.new_page(base_url=stack.base_url, viewport={"width": 1280, "height": 860})
            page.emulate_media(reduced_motion="reduce")
            take(page, origin)
            browser.close()
    return 0


def take(page: Page, origin: Origin) -> None:
    """The demo's catalogue as it is when it is compressed, and one of its images beside the original."""
    for name in catalogue.files():
        if name != catalogue.MISSING:
            origin.add(f"/images/{name}", pictures.draw(name, catalogue.size_of(name)))
    upload(page, catalogue.demo_manifest(origin.place))
    finished(page)
    page.reload()  # without the note that it has just finished
    expect(page.locator("ht-products tbody tr")).to_have_count(len(catalogue.PRODUCTS))
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")  # thumbnails come as they are looked at
    expect(page.locator("ht-thumb:not([data-shown])")).to_have_count(0, timeout=30_000)
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_load_state("networkidle")
    save(page, "request")
    shown = compare(page, "armchair-front.jpg")
    expect(shown.get_by_role("slider")).to_be_visible()
    for button in ("100%", *["Zoom in"] * ZOOMS):
        shown.get_by_role("button", name=button).click()
    page.mouse.move(0, 0)
    page.wait_for_load_state("networkidle")
    save(page, "compare")


def save(page: Page, name: str) -> None:
    """As a PNG, in all its colours where those are small enough, since dithering leaves a pattern on flat grounds."""
    path = FOLDER / f"{name}.png"
    page.screenshot(path=path)
    with Image.open(path) as shot:
        full = shot.convert("RGB")
    full.save(path, optimize=True)
    if path.stat().st_size >= MOST_BYTES:
        colours = full.quantize(COLOURS, Image.Quantize.MAXCOVERAGE)
        full.quantize(palette=colours, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
    assert path.stat().st_size < MOST_BYTES, f"{path.name} has {path.stat().st_size} bytes"


if __name__ == "__main__":
    sys.exit(main())
