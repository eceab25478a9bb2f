"""report.html in a real browser: offline, at three widths and in both themes, used as a reader uses it."""

import json
import shutil
from dataclasses import replace

import pytest

from reporting.report_study import OBJECTIVES, SPACE, TAG, records, report
from rltune.objective import Objective
from rltune.reporting.build import build_report
from rltune.reporting.html.page import page as html_page

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium"),
]

WIDTHS = [360, 768, 1440]
FIGURES = ["arms", "progress", "curves", "contour", "slices", "parallel", "timeline"]


@pytest.fixture(scope="module")
def study():
    return report(records())


@pytest.fixture(scope="module")
def file(study, tmp_path_factory):
    path = tmp_path_factory.mktemp("a page") / "report.html"
    path.write_text(html_page(study), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def two_objectives(tmp_path_factory):
    several = [replace(r, values=r.values and (r.values[0], 10 * r.values[0] + r.number % 7)) for r in records()]
    path = tmp_path_factory.mktemp("two") / "report.html"
    made = build_report("two", several, [*OBJECTIVES, Objective("seconds")], SPACE, workers=2)
    path.write_text(html_page(made), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def visit(browser, file):
    """Opens the page; what it asked for and complained about is looked at when the test ends."""
    opened, asked, complaints, files = [], [], [], []

    def open_page(width=1440, theme="light", path=file):
        files.append(path)
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
        opened.append(tab)
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("dialog", lambda dialog: complaints.append(dialog.message))
        tab.goto(path.as_uri())
        tab.wait_for_selector("html[data-ready=true]")
        return tab

    yield open_page
    for tab in opened:
        tab.close()
    assert complaints == []
    assert {url for url in asked if not url.startswith("data:")} <= {path.as_uri() for path in files}


def column(tab, index):
    return tab.eval_on_selector_all(
        f"#table tbody tr:not([hidden]) td:nth-child({index})", "cells => cells.map(cell => cell.textContent)"
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_figure_fits(visit, width, theme):
    tab = visit(width, theme)
    for name in FIGURES:
        box = tab.locator(f'[data-figure="{name}"] svg').first.bounding_box()
        assert box["width"] > 200, name
        assert box["x"] >= 0, name
        assert box["x"] + box["width"] <= width, name
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (theme == "light")


def test_text_in_figures_keeps_its_size_on_a_telephone(visit):
    sizes = [
        visit(width).evaluate(
            """() => Math.min(...[...document.querySelectorAll("svg text")].map(text =>
                parseFloat(getComputedStyle(text).fontSize) * text.ownerSVGElement.getBoundingClientRect().width
                / text.ownerSVGElement.getAttribute("width")))"""
        )
        for width in (360, 1440)
    ]
    assert min(sizes) >= 10.9


def test_the_theme_can_be_switched(visit):
    tab = visit(theme="dark")
    tab.click("#theme")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    tab.click("#theme")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"


def test_the_table_sorts(visit, study):
    tab = visit()
    assert column(tab, 1)[0] == "0"
    tab.click("#table thead button:text-is('val/accuracy')")
    values = [float(text) for text in column(tab, 5) if text]
    assert values == sorted(values)
    tab.click("#table thead button:text-is('val/accuracy')")
    turned = column(tab, 5)
    values = [float(text) for text in turned if text]
    assert values == sorted(values, reverse=True)
    assert turned[-1] == "", "trials without a value come last both ways"
    assert len(values) == sum(row.values is not None for row in study.rows)


def test_the_table_filters_and_the_figures_follow(visit, study):
    tab = visit()
    tab.fill("#filter", "pruned, lr > 0.001")
    wanted = [str(row.number) for row in study.rows if row.standing == "pruned" and row.params["optimizer.lr"] > 0.001]
    assert column(tab, 1) == wanted
    assert tab.inner_text("#shown") == f"{len(wanted)} of {len(study.rows)} trials"
    lit = tab.eval_on_selector_all(
        '[data-figure="timeline"] [data-trial]:not(.off)', "nodes => nodes.map(node => node.dataset.trial)"
    )
    assert sorted(lit) == sorted(wanted)
    tab.fill("#filter", "")
    assert len(column(tab, 1)) == len(study.rows)


def test_pointing_at_a_trial_tells_of_it_and_marks_it_everywhere(visit, study):
    tab = visit()
    number = next(row.number for row in study.rows if row.standing == "complete" and row.number > 5)
    tab.hover(f'[data-figure="progress"] [data-trial="{number}"]')
    told = tab.inner_text("#tip")
    assert f"trial {number}, search, complete" in told
    assert TAG in told
    for name in ("progress", "curves", "parallel", "timeline"):
        assert tab.locator(f'[data-figure="{name}"] .hot').count() >= 1, name
    tab.mouse.move(2, 2)
    assert tab.locator("#tip").is_hidden()
    assert tab.locator(".hot").count() == 0


def test_a_range_on_an_axis_chooses_trials(visit):
    tab = visit()
    threads = tab.locator(".thread").count()
    grip = tab.locator(".grip").last
    grip.scroll_into_view_if_needed()
    box = grip.bounding_box()
    middle = box["x"] + box["width"] / 2
    tab.mouse.move(middle, box["y"] + 4)
    tab.mouse.down()
    tab.mouse.move(middle, box["y"] + 60, steps=4)
    tab.mouse.up()
    left_out = tab.locator(".thread.out").count()
    assert 0 < left_out < threads
    tab.mouse.click(middle, box["y"] + 30)
    assert tab.locator(".thread.out").count() == 0


def test_outcomes_can_be_hidden_and_scales_chosen(visit):
    tab = visit()
    pruned = tab.locator('[data-figure="curves"] path.line.pruned').first
    assert pruned.is_visible()
    tab.click('[data-figure="curves"] .key.pruned')
    assert pruned.is_hidden()
    tab.click("#fig-progress button:text-is('full runs')")
    assert "full-run equivalents" in tab.inner_html('[data-figure="progress"]')


def test_figures_follow_the_width_of_the_window(visit):
    tab = visit(1440)
    tab.set_viewport_size({"width": 360, "height": 800})
    width = """document.querySelector('[data-figure="curves"] svg')?.getBoundingClientRect().width ?? 1440"""
    for _ in range(50):
        if tab.evaluate(width) < 360:
            break
        tab.wait_for_timeout(100)
    assert tab.evaluate(width) < 360
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360


def test_it_prints(visit, tmp_path):
    tab = visit()
    tab.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").stat().st_size > 20_000
    tab.emulate_media(media="print")
    assert tab.locator("nav").is_hidden()
    assert tab.locator("#table tbody tr").last.is_visible()


def test_two_objectives_have_their_front(visit, two_objectives):
    tab = visit(path=two_objectives)
    assert tab.locator('[data-figure="pareto"] .best-line').count() == 1
    tab.hover('[data-figure="pareto"] .mark >> nth=3')
    assert "seconds = " in tab.inner_text("#tip")
    link = tab.locator("#front a.trial").first
    link.click()
    row = tab.locator(f'#table tr[data-trial="{link.inner_text()}"]')
    assert "hot" in row.get_attribute("class")
    sync_api.expect(row).to_be_in_viewport()


def test_the_browser_reads_the_very_numbers(visit, study):
    read = visit().evaluate("JSON.stringify(JSON.parse(document.getElementById('report').textContent).rows)")
    assert json.loads(read) == json.loads(json.dumps(study.to_json()["rows"]))
