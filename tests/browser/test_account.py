"""The account: its usage, its keys and its signing secret."""

import httpx
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.steps import give_key
from tests.browser.tab import Tab
from tests.stack import Stack


@pytest.fixture
def tab(open_tab: Open, keyed: Stack, request: pytest.FixtureRequest) -> Tab:
    """The account's tab of an admin, of an account of this test's."""
    tab = open_tab("/#/account", base_url=keyed.base_url)
    tab.expect_error(r"40[13] ")
    give_key(tab.page, keyed.key(request.node.name[-40:], "--scopes", "read,write,admin"))
    expect(tab.page.get_by_role("heading", name="Audit log")).to_be_visible()
    return tab


def answered(stack: Stack, key: str) -> int:
    return httpx.get(f"{stack.base_url}/v1/account", headers={"Authorization": f"Bearer {key}"}).status_code


def test_the_account_is_usable_by_all_and_fits_a_phone(tab: Tab) -> None:
    expect(tab.page.locator("table.keys tbody tr")).to_have_count(1)
    expect(tab.page.get_by_text("of 5,000,000")).to_be_visible()
    assert tab.barriers() == []
    tab.page.set_viewport_size({"width": 390, "height": 844})
    assert tab.overflow() == 0
    tab.look("account")


def test_a_new_key_is_shown_once_and_works(tab: Tab, keyed: Stack) -> None:
    tab.page.get_by_role("button", name="New key").click()
    tab.page.get_by_role("button", name="Make the key").click()
    key = tab.page.get_by_role("textbox", name="The new key").input_value()

    assert answered(keyed, key) == 200
    assert tab.barriers() == []
    tab.look("account-new-key")
    expect(tab.page.locator("table.keys tbody tr")).to_have_count(2)
    expect(tab.page.locator("table.audit")).to_contain_text(key.split("_")[1])
    tab.page.get_by_role("button", name="I have kept it").click()
    expect(tab.page.get_by_role("textbox", name="The new key")).to_have_count(0)
    assert key not in tab.page.content()


def test_a_key_is_rotated_and_revoked_after_a_question(tab: Tab, keyed: Stack) -> None:
    tab.page.get_by_role("button", name="Rotate").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Rotate it").click()
    key = tab.page.get_by_role("textbox", name="The new key").input_value()
    tab.page.get_by_role("button", name="Use the new one here").click()

    revoke = tab.page.get_by_role("button", name=f"Revoke {key[:15]}")
    revoke.click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    assert tab.asked("^DELETE") == []
    assert answered(keyed, key) == 200
    revoke.click()
    tab.page.get_by_role("dialog", name="Revoke this key?").get_by_role("button", name="Revoke it").click()
    expect(tab.page.get_by_role("heading", name="API key", exact=True)).to_be_visible()


def test_the_signing_secret_is_replaced_after_a_question_and_shown_once(tab: Tab) -> None:
    tab.page.get_by_role("button", name="Replace").click()
    assert tab.asked("^POST") == []
    tab.page.get_by_role("dialog").get_by_role("button", name="Replace it").click()

    secret = tab.page.get_by_role("textbox", name="The new signing secret")
    assert secret.input_value().startswith("whsec_")
    expect(tab.page.locator("table.audit")).to_contain_text("signing_secret.rotated")
    tab.page.get_by_role("button", name="I have kept it").click()
    expect(secret).to_have_count(0)


def test_a_key_without_admin_is_told_what_it_lacks_and_asks_for_nothing_more(open_tab: Open, keyed: Stack) -> None:
    tab = open_tab("/#/account", base_url=keyed.base_url)
    tab.expect_error("401 ")
    give_key(tab.page, keyed.key("clerk", "--scopes", "read"))

    expect(tab.page.get_by_text("This one may not.")).to_be_visible()
    assert tab.asked("/v1/(keys|audit)") == []
    assert tab.barriers() == []
    tab.look("account-clerk")


def test_a_bad_key_is_refused_and_asked_for_again(open_tab: Open, keyed: Stack) -> None:
    tab = open_tab("/#/account", base_url=keyed.base_url)
    tab.expect_error("401 ")
    give_key(tab.page, "ht_aaaaaaaaaaaa_wrong")

    expect(tab.page.get_by_text("That key was not accepted.")).to_be_visible()
    assert tab.barriers() == []
    tab.look("bad-key", whole=False)


def test_without_keys_the_account_says_that_none_is_asked_for(open_tab: Open) -> None:
    tab = open_tab("/#/account")

    expect(tab.page.get_by_text("This Halftone asks for no key")).to_be_visible()
    expect(tab.page.get_by_text("None is needed while this Halftone asks for none.")).to_be_visible()
    expect(tab.page.get_by_text("is listed here, with who made it")).to_be_visible()
    tab.look("account-open")


def test_who_gives_no_key_is_offered_to_enter_one(open_tab: Open, keyed: Stack) -> None:
    tab = open_tab("/#/requests", base_url=keyed.base_url)
    tab.expect_error("401 ")
    key = tab.page.get_by_label("Key", exact=True)
    expect(key).to_be_focused()
    tab.page.keyboard.press("Escape")
    expect(tab.page.get_by_role("main", name="Requests")).to_be_focused()
    tab.page.get_by_role("button", name="Enter a key").click()
    expect(key).to_be_focused()


def test_the_focus_goes_on_where_what_held_it_is_gone(tab: Tab) -> None:
    page = tab.page
    start = page.get_by_role("button", name="New key")
    for end in ("Cancel", "I have kept it"):
        start.press("Enter")
        if end != "Cancel":
            page.get_by_role("button", name="Make the key").press("Enter")
        page.get_by_role("button", name=end).press("Enter")
        expect(start).to_be_focused()
    expect(page.locator("table.keys tbody tr")).to_have_count(2)  # else the first is this tab's own
    revoke = page.get_by_role("button", name="Revoke").first
    revoke.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(revoke).to_be_focused()
    revoke.press("Enter")
    page.get_by_role("button", name="Revoke it").press("Enter")
    expect(start).to_be_focused()
