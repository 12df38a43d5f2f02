"""What strangers wrote is text on the page: names, addresses, answers of hosts and receivers, the address bar."""

import re
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Page, expect

from deploy.demo.catalogue import manifest
from tests.browser.conftest import Open
from tests.browser.shop import Shop, picture
from tests.browser.steps import compare, finished, give_key, upload
from tests.origin import Behaviour, Exchange, Origin, body
from tests.stack import Stack

RUNS = "window.pwned=1"
MARKUP = f"<img src=x onerror={RUNS}><b class=injected>b</b>"
NAMES = [
    MARKUP,
    f'"><script class=injected>{RUNS}</script>',
    f"<svg class=injected onload={RUNS}><template><style>*{{display:none}}</style>",
    f"${{{RUNS}}}{{{{{RUNS}}}}}<!--?lit$1$--><?lit$1$>",
    f"javascript:{RUNS}",
    "\u202egpj.exe\u2066",
    "Ω" * 50_000,
]


def hostile(code: int) -> Behaviour:
    """Markup wherever a server can write: reason, headers, body."""

    def answer(exchange: Exchange) -> None:
        head = f"HTTP/1.1 {code} {MARKUP}\r\nX-Evil: {MARKUP}\r\nContent-Type: text/html\r\n"
        exchange.send(f"{head}Content-Length: {len(MARKUP)}\r\n\r\n{MARKUP}".encode())

    return answer


def assert_text_alone(page: Page) -> None:
    assert page.evaluate("window.pwned") is None
    assert page.locator(".injected, img[src=x]").count() == 0


@pytest.fixture
def manifest_of_strangers(shop: Shop, origin: Origin) -> bytes:
    origin.on("/evil.jpg", hostile(404))
    origin.on(
        "/svg.jpg",
        body(f"<svg xmlns='http://www.w3.org/2000/svg' onload='{RUNS}'/>".encode(), content_type="image/svg+xml"),
    )
    origin.add(f"/{quote(MARKUP, safe='')}.jpg", picture("shoe.jpg"))
    origin.on(f"/{quote(chr(0x202E) + 'gpj.exe')}", hostile(404))
    urls = [
        origin.url(path)
        for path in (f"/{quote(MARKUP, safe='')}.jpg", "/evil.jpg", "/svg.jpg", f"/{quote(chr(0x202E) + 'gpj.exe')}")
    ]
    return manifest([(f"{number}{MARKUP}", name, urls) for number, name in enumerate(NAMES)])


def test_names_addresses_and_answers_are_text(open_tab: Open, origin: Origin, manifest_of_strangers: bytes) -> None:
    tab = open_tab("/")
    page = tab.page
    origin.on("/hook", hostile(410))
    request_id = upload(page, manifest_of_strangers, webhook=origin.url("/hook"))
    finished(page)
    expect(page.get_by_text(MARKUP).first).to_be_visible()
    assert_text_alone(page)
    assert tab.overflow() == 0
    compare(page, MARKUP)
    link = page.get_by_role("link", name="Open the original's address")
    assert (link.get_attribute("rel"), link.get_attribute("target")) == ("noreferrer", "_blank")
    assert_text_alone(page)
    page.get_by_role("button", name="Close").click()
    for part, content in (
        ("images", "table.images"),
        ("images?show=failed", "ht-images:has([aria-current=true][href$=failed]) table.images"),
        ("figures", ".part-failures table"),
        ("deliveries", "table.attempts"),
    ):
        page.goto(f"/#/requests/{request_id}/{part}")
        expect(page.locator(content)).to_be_visible()
        assert_text_alone(page)
    page.get_by_text("Begins with").click()
    expect(page.locator("pre", has_text=MARKUP).first).to_be_visible()
    assert_text_alone(page)


def test_a_file_name_turns_no_direction(open_tab: Open, manifest_of_strangers: bytes) -> None:
    page = open_tab("/").page
    request_id = upload(page, manifest_of_strangers)
    finished(page)
    page.goto(f"/#/requests/{request_id}/images")
    expect(page.locator("table.images")).to_contain_text("%E2%80%AEgpj.exe")
    assert "\u202e" not in page.content()


def test_faults_of_a_file_are_text(open_tab: Open) -> None:
    page = open_tab("/").page
    rows = manifest([(f"1{MARKUP}", MARKUP, [f"javascript:{RUNS}"]), ("2", MARKUP, ["data:text/html,<b>"])])
    page.locator("input[type=file]").set_input_files({"name": f"{MARKUP}.csv", "mimeType": "text/csv", "buffer": rows})
    expect(page.get_by_text(f"{MARKUP}.csv", exact=True)).to_be_visible()
    expect(page.locator("table.faults")).to_contain_text("data:text/html,<b>")
    expect(page.locator("table.faults")).to_contain_text(f"javascript:{RUNS}")
    assert_text_alone(page)


@pytest.mark.parametrize(
    "address",
    [
        f"#/requests/{MARKUP}",
        "#/requests/../keys",
        "#/requests/0199aaaa-0000-7000-8000-000000000000/../../v1/keys",
        "#//evil.example/requests",
        f"#/requests/0199aaaa-0000-7000-8000-000000000000/images?show={MARKUP}",
        f"#javascript:{RUNS}",
    ],
)
def test_an_address_asks_for_nothing_but_a_request(open_tab: Open, address: str) -> None:
    tab = open_tab("/")
    tab.expect_error(r"404 ")
    tab.page.goto(f"/{address}")
    expect(tab.page.get_by_role("heading", name=re.compile("There is no such (page|request)"))).to_be_visible()
    assert_text_alone(tab.page)
    assert tab.asked(r"/v1/(?!requests(\?|/0199aaaa-0000-7000-8000-000000000000/(images|events)))") == []


def test_the_key_stays_in_the_tab_and_goes_to_the_service_alone(open_tab: Open, keyed: Stack) -> None:
    tab = open_tab("/#/requests", base_url=keyed.base_url)
    page, key = tab.page, keyed.key("hostile-content")
    tab.expect_error(r"40[13] ")
    asked: dict[str, str | None] = {}
    page.on("request", lambda request: asked.update({urlsplit(request.url).path: request.headers.get("authorization")}))
    give_key(page, "ht_\u2026\n")
    expect(page.get_by_text("That key was not accepted")).to_be_visible()
    give_key(page, f"\u200b{key}\n")
    expect(page.get_by_role("heading", name="No requests yet")).to_be_visible()
    page.goto("/#/account")
    expect(page.get_by_role("heading", name="Usage")).to_be_visible()
    assert asked["/v1/account"] == f"Bearer {key}"
    assert {path for path, sent in asked.items() if sent and not path.startswith("/v1/")} == set()
    kept = page.evaluate(
        "[JSON.stringify(localStorage), document.cookie, location.href, document.documentElement.outerHTML]"
    )
    assert not [text for text in kept if key in text]
    with page.expect_popup() as opened:
        page.evaluate("window.open('/', '_blank', 'noopener')")
    assert opened.value.evaluate("sessionStorage.length") == 0
