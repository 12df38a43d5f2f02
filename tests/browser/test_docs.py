"""The page that shows the API, in a browser."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open


def test_the_api_page_shows_its_calls_and_asks_no_other_host(open_tab: Open) -> None:
    tab = open_tab("/docs")

    expect(tab.page.locator(".opblock").nth(15)).to_be_visible()
    tab.look("docs", whole=False)


@pytest.mark.parametrize("page", ["problems/", "problems/invalid_manifest", "problems/image-errors"])
def test_what_explains_problems_is_usable_by_all_and_fits_a_phone(open_tab: Open, page: str) -> None:
    tab = open_tab(f"/docs/{page}")

    expect(tab.page.get_by_role("heading", level=1)).to_be_visible()
    assert tab.barriers() == []
    tab.page.set_viewport_size({"width": 390, "height": 844})
    assert tab.overflow() == 0
    tab.look(f"docs-{page.strip('/')}")


def test_the_api_page_follows_light_and_dark_and_leads_to_the_other_pages(open_tab: Open) -> None:
    tab = open_tab("/docs")
    shown = tab.page.locator(".swagger-ui").first

    for scheme, ground in (("dark", "rgb(19, 20, 22)"), ("light", "rgb(247, 247, 245)")):
        tab.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        expect(shown).to_have_css("background-color", ground)
    tab.page.get_by_role("link", name="Problems").click()
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("Problems")


def test_a_tab_complains_of_a_refused_script_another_host_and_an_error(open_tab: Open) -> None:
    tab = open_tab("/docs")
    tab.page.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: '1'}))")
    with tab.page.expect_console_message(lambda message: "img-src" in message.text):
        tab.page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.2:9/x.png'}))")
    with tab.page.expect_event("pageerror"):
        tab.page.evaluate("console.error('an error'); setTimeout(() => { throw new Error('thrown') })")

    told = " ".join(tab.complaints)
    for complaint in ("script-src", "img-src", "an error", "thrown"):
        assert complaint in told
    tab.complaints.clear()


def test_axe_finds_a_button_without_a_name(open_tab: Open) -> None:
    tab = open_tab("/openapi.json")
    tab.page.set_content("<html lang=en><title>t</title><main><h1>t</h1><button></button></main>")

    assert [barrier.split(": ")[1] for barrier in tab.barriers()] == ["button-name"] * 4
