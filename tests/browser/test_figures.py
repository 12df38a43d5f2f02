"""The figures of a request."""

import json
import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

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
            "aria-label", r := tab.page.locator(".plotted figcaption p").nth(number).inner_text()
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
    read = "document.querySelector('.part-savings canvas').toDataURL()"
    day = tab.page.evaluate(read)
    tab.page.emulate_media(color_scheme="dark")
    tab.page.wait_for_function(f"day => {read} !== day", arg=day)  # the page is told with its next frame


def test_the_figures_are_usable_by_all_and_fit_a_phone(tab: Tab) -> None:
    assert tab.barriers() == []
    tab.page.set_viewport_size({"width": 390, "height": 844})
    assert tab.overflow() == 0
    tab.look("figures")


def test_a_finished_request_is_asked_for_its_report_once(tab: Tab) -> None:
    asked = tab.asked("/report")
    assert len(asked) == 1


@pytest.mark.parametrize(("took", "pause"), [(0, 10), (3, 60)])
def test_a_running_request_s_report_is_read_every_10_s_or_20_times_what_it_took(
    open_tab: Open, request_id: str, took: int, pause: int
) -> None:
    """On the page's clock, which stands still but for what is told here. All in seconds."""
    tab = open_tab("/docs/problems/")
    page = tab.page
    page.clock.install(time=0)
    page.clock.pause_at(3600)
    page.goto(f"/#/requests/{request_id}/figures")
    heading = page.get_by_role("heading", name="Throughput")
    expect(heading).to_be_visible()

    def slowly(route: Route) -> None:
        page.clock.run_for(1000 * took)
        route.continue_()

    page.route("**/report", slowly)
    page.evaluate("Object.assign(document.querySelector('ht-figures'), { report: null, live: true })")
    expect(heading).to_be_visible()
    asked = len(tab.asked("/report"))
    page.clock.run_for(1000 * (pause - 1))
    page.wait_for_load_state("networkidle")
    assert len(tab.asked("/report")) == asked
    with page.expect_request("**/report"):
        page.clock.run_for(1001)


def pointed_at(page: Page, plot: Locator, part: float) -> list[str]:
    """What is said where the pointer is, at this part of the plot's width."""
    over = plot.locator(".u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + part * box["width"], box["y"] + box["height"] / 2)
    tip = plot.locator(".plot-tip")
    expect(tip).to_be_visible()
    return tip.inner_text().splitlines()


def test_a_plot_tells_the_figures_that_are_pointed_at(tab: Tab, report: JSON) -> None:
    savings, throughput = tab.page.locator("ht-plot").all()
    at = max(range(20), key=lambda number: report["savings"][number]["images"])
    images, saved = pointed_at(tab.page, savings, (at + 0.5) / 20)
    assert int(images.split()[0]) == report["savings"][at]["images"]
    range_of = tab.page.locator(".part-savings details tbody th").nth(at).text_content()
    assert saved == f"saved {range_of}"

    points = report["throughput"]["points"]
    _, completed, failed = pointed_at(tab.page, throughput, 0.5 / len(points))
    assert completed.startswith(f"{points[0]['completed']} completed, ")
    assert failed.startswith(f"{points[0]['failed']} failed, ")


HOURS = """(hours) => {
  const element = document.querySelector("ht-figures");
  const at = (n) => new Date(Date.UTC(2026, 10, 22) + 1000 * 900 * n).toISOString();
  const points = Array.from({ length: 4 * hours }, (_, n) => ({ at: at(n), completed: 3, failed: 0 }));
  element.report = { ...element.report, throughput: { interval_seconds: 900, points } };
}"""


def test_a_run_of_hours_has_speeds_and_times_that_fit_it(tab: Tab) -> None:
    part = tab.page.locator(".part-throughput")
    first = part.locator("tbody th").first
    for hours, begin in ((6, r"^\d\d:\d\d$"), (30, r"^\d+ Nov, \d\d:\d\d$")):
        tab.page.evaluate(HOURS, hours)
        expect(part).to_contain_text("12.0 images/h")
        expect(first).to_have_text(re.compile(begin))
        expect(part).to_contain_text("Each step is 15 min.")
    expect(part.locator(".of-failures")).to_have_count(0)


def test_figures_that_are_known_stay_where_others_cannot_be_read(tab: Tab) -> None:
    tab.expect_error("status of 500")
    tab.page.route("**/report", lambda route: route.fulfill(status=500, json={"status": 500, "detail": "It broke."}))
    tab.page.evaluate("document.querySelector('ht-figures').live = true")
    expect(tab.page.get_by_role("alert")).to_have_text("It broke.")
    expect(tab.page.get_by_role("heading", name="Throughput")).to_be_visible()


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
