"""An image beside its original."""

import psycopg
import pytest
from playwright.sync_api import Locator, expect

from deploy.demo.catalogue import manifest
from tests.api import Client
from tests.browser.conftest import Open
from tests.browser.shop import Shop
from tests.browser.steps import compare
from tests.browser.tab import Tab
from tests.pictures import encode, photo
from tests.stack import Stack

COUNT_BLOBS = """
window.blobs = {live: 0, most: 0};
const [make, drop] = [URL.createObjectURL, URL.revokeObjectURL];
URL.createObjectURL = (blob) => { blobs.most = Math.max(blobs.most, blobs.live += 1); return make.call(URL, blob); };
URL.revokeObjectURL = (url) => { blobs.live -= 1; drop.call(URL, url); };
"""


@pytest.fixture
def request_id(api: Client, shop: Shop) -> str:
    """A finished request of the shop's."""
    request_id: str = api.upload(shop.csv())["request_id"]
    api.finished(request_id)
    return request_id


@pytest.fixture
def tab(open_tab: Open, request_id: str) -> Tab:
    return open_tab(f"/#/requests/{request_id}")


SHAPES = {"tall": (300, 4000), "wide": (4000, 300), "icon": (64, 64), "dot": (1, 1)}


@pytest.fixture
def shapes_id(api: Client, shop: Shop) -> str:
    """A finished request whose pictures have every shape."""
    for name, (width, height) in SHAPES.items():
        shop.origin.add(f"/{name}.png", encode(photo(width, height, seed=1), "png"))
    urls = [shop.origin.url(f"/{name}.png") for name in SHAPES]
    request_id: str = api.upload(manifest([("1", "Shapes", urls)]))["request_id"]
    api.finished(request_id)
    return request_id


def divider(shown: Locator) -> Locator:
    slider = shown.get_by_role("slider")
    expect(slider).to_have_attribute("aria-valuenow", "50")
    return slider


def test_both_sides_are_shown_with_their_bytes_and_the_quality(tab: Tab, api: Client, request_id: str) -> None:
    shown = compare(tab.page, "scarf.jpg")
    divider(shown)

    for side in (".before img", ".after img"):
        expect(shown.locator(side)).to_have_js_property("naturalWidth", 900)
    image = next(one for one in api.items(f"/v1/requests/{request_id}/images") if one["url"].endswith("scarf.jpg"))
    kilobytes = f"{image['source']['bytes'] / 1000:.0f} kB"
    expect(shown.locator(".sides")).to_contain_text(kilobytes)
    expect(shown.locator(".sides")).to_contain_text(f"quality {image['rendition']['quality']}")
    assert tab.barriers() == []
    assert tab.overflow() == 0
    tab.look("compare", whole=False)


def test_the_divider_obeys_keys_and_pointer_and_says_where_it_stands(tab: Tab) -> None:
    slider = divider(compare(tab.page, "scarf.jpg"))

    slider.focus()
    for key, value in (("ArrowRight", "52"), ("PageDown", "42"), ("Home", "0"), ("ArrowLeft", "0"), ("End", "100")):
        slider.press(key)
        expect(slider).to_have_attribute("aria-valuenow", value)
    stage = tab.page.locator(".stage").bounding_box()
    assert stage is not None
    middle = stage["y"] + stage["height"] / 2
    tab.page.mouse.move(stage["x"] + stage["width"] - 2, middle)
    tab.page.mouse.down()
    tab.page.mouse.move(stage["x"] + stage["width"] / 4, middle, steps=4)
    tab.page.mouse.up()
    expect(slider).to_have_attribute("aria-valuetext", "25% original")
    clip = tab.page.locator(".side.after").evaluate("side => getComputedStyle(side).clipPath")
    assert clip.startswith("inset(0px 0px 0px 25")


def test_zoom_keeps_the_picture_in_its_stage_and_keys_move_it(tab: Tab) -> None:
    shown = compare(tab.page, "scarf.jpg")
    divider(shown)
    stage, picture = shown.locator(".stage"), shown.locator(".after img")

    fitted = picture.bounding_box()
    stage.focus()
    for key in "+++":
        stage.press(key)
    large = picture.bounding_box()
    assert fitted is not None
    assert large is not None
    assert large["width"] == pytest.approx(fitted["width"] * 1.5**3, rel=0.01)
    for _ in range(40):
        stage.press("ArrowRight")  # far beyond its edge
    moved, frame = picture.bounding_box(), stage.bounding_box()
    assert moved is not None
    assert frame is not None
    assert moved["x"] + moved["width"] == pytest.approx(frame["x"] + frame["width"], abs=2)
    shown.get_by_role("button", name="Fit").click()
    assert picture.bounding_box() == fitted
    shown.get_by_role("button", name="100%").click()
    expect(shown.get_by_role("group", name="Zoom").locator("output")).to_have_text("100%")


def test_two_fingers_zoom(tab: Tab) -> None:
    shown = compare(tab.page, "scarf.jpg")
    divider(shown)
    before = shown.locator(".after img").bounding_box()
    shown.locator(".stage").evaluate(
        """stage => {
          const box = stage.getBoundingClientRect();
          stage.setPointerCapture = () => {};
          const send = (type, pointerId, x) => stage.dispatchEvent(new PointerEvent(type, {
            pointerId, pointerType: "touch", bubbles: true,
            clientX: box.left + box.width * x, clientY: box.top + box.height / 2}));
          send("pointerdown", 1, 0.45); send("pointerdown", 2, 0.55);
          send("pointermove", 1, 0.4); send("pointermove", 2, 0.6);
          send("pointerup", 1, 0.4); send("pointerup", 2, 0.6);
        }"""
    )
    after = shown.locator(".after img").bounding_box()
    assert before is not None
    assert after is not None
    assert after["width"] == pytest.approx(2 * before["width"], rel=0.01)


@pytest.mark.parametrize("width", [1280, 390])
def test_a_picture_of_any_shape_is_fitted_without_enlarging_it(open_tab: Open, shapes_id: str, width: int) -> None:
    tab = open_tab(f"/#/requests/{shapes_id}")
    tab.page.set_viewport_size({"width": width, "height": 860})
    shown = compare(tab.page, "tall.png")
    output = shown.get_by_role("group", name="Zoom").locator("output")
    for name, size in SHAPES.items():
        expect(tab.page.get_by_role("heading", name=f"{name}.png")).to_be_visible()
        divider(shown)
        stage, picture = shown.locator(".stage").bounding_box(), shown.locator(".after img").bounding_box()
        tags = [tag.bounding_box() for tag in shown.locator(".tag").all()]
        assert stage is not None
        assert picture is not None
        assert tags[0] is not None
        assert tags[1] is not None
        scale = min(1, stage["width"] / size[0], stage["height"] / size[1])
        assert [picture["width"], picture["height"]] == pytest.approx([side * scale for side in size], abs=1)
        assert picture["x"] + picture["width"] / 2 == pytest.approx(stage["x"] + stage["width"] / 2, abs=1)
        assert tags[0]["x"] + tags[0]["width"] + 44 < tags[1]["x"]  # the divider's handle is between them
        shown.get_by_role("button", name="100%").click()
        expect(output).to_have_text("100%")
        shown.get_by_role("button", name="Fit").click()
        expect(output).to_have_text(f"{round(scale * 100)}%")
        assert tab.overflow() == 0
        tab.screenshot(f"shape-{name}-{width}", whole=False)
        tab.page.keyboard.press("ArrowRight")


def test_the_images_of_a_page_are_stepped_through_by_keys(tab: Tab) -> None:
    shown = compare(tab.page, "scarf.jpg")
    slider = divider(shown)
    title = tab.page.locator("#viewer-title")
    keyboard = tab.page.keyboard

    keyboard.press("ArrowRight")
    expect(title).to_have_text("gone.jpg")
    expect(shown).to_contain_text("answered 404")
    keyboard.press("ArrowRight")
    expect(title).to_have_text("tiny.jpg")
    expect(tab.page.get_by_role("status").filter(has_text="6 of 6")).to_have_text("tiny.jpg, 6 of 6")
    keyboard.press("ArrowRight")
    expect(title).to_have_text("tiny.jpg")
    keyboard.press("ArrowLeft")
    keyboard.press("ArrowLeft")
    expect(title).to_have_text("scarf.jpg")

    for key in "+++":
        keyboard.press(key)
    keyboard.press("ArrowRight")  # moves what is larger than its frame
    expect(title).to_have_text("scarf.jpg")
    keyboard.press("0")
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuenow", "52")
    expect(title).to_have_text("scarf.jpg")
    keyboard.press("Escape")
    expect(shown).to_have_count(0)
    expect(tab.page.get_by_role("button", name="Compare scarf.jpg")).to_be_focused()


def test_the_comparison_closes_when_the_address_leads_elsewhere(tab: Tab) -> None:
    tab.page.get_by_role("link", name="Images", exact=True).click()
    expect(tab.page.locator("ht-images")).to_be_visible()
    compare(tab.page, "scarf.jpg")
    tab.page.go_back()
    expect(tab.page.locator("ht-products")).to_be_visible()
    expect(tab.page.get_by_role("dialog")).to_have_count(0)


def test_one_original_at_a_time_is_in_memory_and_none_when_it_is_closed(open_tab: Open, request_id: str) -> None:
    tab = open_tab("/")
    tab.page.add_init_script(COUNT_BLOBS)
    tab.page.reload()
    tab.page.goto(f"/#/requests/{request_id}")

    for name in ("scarf.jpg", "hat.webp", "shoe.jpg"):
        divider(compare(tab.page, name))
        assert tab.page.evaluate("window.blobs") == {"live": 1, "most": 1}
        tab.page.get_by_role("button", name="Close").click()
        expect(tab.page.locator("ht-compare")).to_have_count(0)
        assert tab.page.evaluate("window.blobs.live") == 0


def test_an_original_that_is_no_longer_kept_is_said_to_be_gone(tab: Tab, stack: Stack, request_id: str) -> None:
    with psycopg.connect(stack.database_url) as connection:
        connection.execute("UPDATE processing_request SET sources_deleted_at = now() WHERE id = %s", [request_id])
    tab.expect_error(r"410 .*/source")
    shown = compare(tab.page, "scarf.jpg")

    expect(shown.locator(".said")).to_have_text("The original is no longer kept.")
    expect(shown.locator(".after img")).to_be_visible()
    assert shown.get_by_role("slider").count() == 0
    assert tab.barriers() == []
    tab.look("compare-gone", whole=False)


def test_an_image_that_failed_says_why(tab: Tab) -> None:
    tab.page.get_by_role("button", name="Why gone.jpg failed").click()
    shown = tab.page.get_by_role("dialog", name="gone.jpg")
    expect(shown).to_contain_text("answered 404")
    expect(shown.get_by_role("link", name="http_status")).to_have_attribute(
        "href", "/docs/problems/image-errors#http_status"
    )
    assert tab.asked("/source") == []
    assert tab.barriers() == []
    tab.look("compare-failed", whole=False)
