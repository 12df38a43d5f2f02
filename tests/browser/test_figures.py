"""The figures of a request."""

import json

import pytest
from playwright.sync_api import expect

from tests.api import JSON, Client
from tests.browser.conftest import Open
from tests.browser.shop import Shop
from tests.browser.steps import rows
from tests.browser.tab import Tab

EDGES = """() => [...document.querySelectorAll(".part, .part :is(h2, tr, th, td, summary, .plot, .share)")]
  .filter((element) => !element.closest("details table"))
  .map((element) => { const {x, y, width, height} = element.getBoundingClientRect(); return [x, y, width, height]; })"""


@pytest.fixture
def request_id(api: Client, shop: Shop) -> str:
    """A finished request of the shop's."""
    request_id: str = api.upload(shop.csv())["request_id"]
    api.finished(request_id)
    return request_id


@pytest.fixture
def report(api: Client, request_id: str) -> JSON:
    report: JSON = json.loads(api.call("GET", f"/v1/requests/{request_id}/report"))
    return report


@pytest.fixture
def tab(open_tab: Open, request_id: str) -> Tab:
    tab = open_tab(f"/#/requests/{request_id}/figures")
    expect(tab.page.get_by_role("heading", name="Throughput")).to_be_visible()
    return tab


def test_every_figure_is_the_report_s(tab: Tab, report: JSON) -> None:
    formats = tab.page.locator(".part-formats table")
    assert [[row[0].lower().split()[0], row[1]] for row in rows(formats)] == [
        [pair["source_format"], str(pair["images"])] for pair in report["formats"]
    ]
    assert rows(tab.page.locator(".part-failures table")) == [["http_status", "1", ""]]
    slowest = tab.page.locator(".part-hosts table").first
    assert [row[0] for row in rows(slowest)] == [host["host"] for host in report["hosts"]["slowest"]]


def test_each_plot_is_drawn_and_has_words_and_a_table(tab: Tab, report: JSON) -> None:
    plots = tab.page.locator("ht-plot")
    assert plots.count() == 2
    for number in range(2):
        plot = plots.nth(number)
        expect(plot.get_by_role("img")).to_have_attribute(
            "aria-label", r := tab.page.locator(".plotted figcaption p:last-child").nth(number).inner_text()
        )
        assert r
        drawn = plot.locator("canvas").evaluate(
            "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)"
        )
        assert drawn
    for summary in tab.page.get_by_text("The figures as a table").all():
        summary.click()
    assert [int(row[1]) for row in rows(tab.page.locator(".part-savings details table"))] == [
        bucket["images"] for bucket in report["savings"]
    ]
    assert [int(row[1]) for row in rows(tab.page.locator(".part-throughput details table"))] == [
        point["completed"] for point in report["throughput"]["points"]
    ]


def test_plots_are_drawn_anew_in_the_colours_of_the_night(tab: Tab) -> None:
    read = "canvas => canvas.toDataURL()"
    canvas = tab.page.locator(".part-savings canvas")
    day = canvas.evaluate(read)
    tab.page.emulate_media(color_scheme="dark")
    expect(canvas).to_be_visible()
    assert canvas.evaluate(read) != day


def test_the_figures_are_usable_by_all_and_fit_a_phone(tab: Tab) -> None:
    assert tab.barriers() == []
    tab.page.set_viewport_size({"width": 390, "height": 844})
    assert tab.overflow() == 0
    tab.look("figures")


def test_a_finished_request_is_asked_for_its_report_once(tab: Tab) -> None:
    asked = tab.asked("/report")
    assert len(asked) == 1


def test_figures_that_change_move_nothing(tab: Tab) -> None:
    edges = tab.page.evaluate(EDGES)
    tab.page.evaluate(
        """async () => {
          const element = document.querySelector("ht-figures");
          const counts = ["images", "source_bytes", "rendition_bytes", "failed", "completed"];
          const grown = (name, value) =>
            Array.isArray(value) ? value.map((one) => grown(name, one))
            : value && typeof value === "object"
              ? Object.fromEntries(Object.entries(value).map(([name, of]) => [name, grown(name, of)]))
            : counts.includes(name) ? value * 1234 : value;
          element.report = grown("", element.report);
          await element.updateComplete;
          for (let frame = 0; frame < 3; frame += 1) await new Promise(requestAnimationFrame);
        }"""
    )
    expect(tab.page.locator(".part-failures")).to_contain_text("1,234")
    assert tab.page.evaluate(EDGES) == edges
