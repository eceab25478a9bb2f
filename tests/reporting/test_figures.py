"""Figures for notebooks: their numbers are the report's, and nothing in a name becomes markup."""

import json
import shutil
import sys

import pytest

pytest.importorskip("plotly", reason="needs pip install 'rltune[notebook]'")

from reporting.report_study import CHOICE, OBJECTIVES, TAG, records, report
from rltune.errors import InputError, RltuneError
from rltune.objective import Objective
from rltune.reporting.build import build_report
from rltune.reporting.figures import FIGURES, figure
from rltune.space import SearchSpace

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def study():
    return report(records())


@pytest.fixture(scope="module")
def data(study):
    """What `rltune report --json` prints."""
    return json.loads(json.dumps(study.to_json(), default=str))


@pytest.fixture(scope="module")
def nothing():
    space = SearchSpace.from_mapping({"lr": {"type": "float", "min": 0.1, "max": 1.0}})
    return build_report("empty", [], [Objective("loss")], space, workers=1)


def traces(fig, **wanted):
    return [t for t in fig.data if all(getattr(t, key) == value for key, value in wanted.items())]


def points(fig, **wanted):
    return [point for t in traces(fig, **wanted) for point in zip(t.x, t.y, strict=True)]


def test_the_history_is_that_of_the_report(study, data):
    fig = figure(study, "history")
    steps = data["history"]["steps"]
    best = [(step["n_trials"], step["best"]) for step in steps if step["best"] is not None]
    assert points(fig, name="best so far") == best
    values = {row["number"]: row["values"] and row["values"][0] for row in data["rows"]}
    shown = sorted((step["n_trials"], values[step["number"]]) for step in steps if values[step["number"]] is not None)
    assert sorted(points(fig, mode="markers")) == shown
    (band,) = fig.layout.shapes
    noise = data["noise"]
    assert (band.y0, band.y1) == (noise["mean"] - noise["sd"], noise["mean"] + noise["sd"])


def test_the_curves_are_those_of_the_report_and_the_recommended_one_is_on_top(study, data):
    fig = figure(study, "curves")
    wanted = [row["curve"] for row in data["rows"] if len(row["curve"]) > 1]
    drawn = [[list(point) for point in zip(t.x, t.y, strict=True)] for t in fig.data]
    without_nan = [[[step, None if y != y else y] for step, y in curve] for curve in drawn]
    assert sorted(without_nan, key=str) == sorted(wanted, key=str)
    assert fig.data[-1].name == "recommended"
    assert f"trial {data['recommended']['number']}," in fig.data[-1].hovertemplate


def test_importance_has_both_methods(study, data):
    fig = figure(study, "importance")
    for name, method in (("fANOVA", "fanova"), ("PED-ANOVA", "ped_anova")):
        (bars,) = traces(fig, name=name)
        shown = dict(zip(bars.y, bars.x, strict=True))
        assert sorted(shown.values()) == sorted(data["importance"][method].values())
    assert "lr" in shown, "a dotted name is shortened"
    assert list(traces(fig, name="fANOVA")[0].x) == sorted(data["importance"]["fanova"].values()), "the greatest on top"


def test_slices_have_a_plot_for_each_parameter(study, data):
    fig = figure(study, "slices")
    titles = [fig.layout[f"xaxis{i or ''}"].title.text for i in ("", 2, 3, 4)]
    assert {"lr", "temperature", "momentum"} < set(titles)
    axis = {fig.layout[f"xaxis{i or ''}"].title.text: fig.layout[f"xaxis{i or ''}"].type for i in ("", 2, 3, 4)}
    assert axis["lr"] == "log"
    means = [level["mean"] for effect in data["effects"] for level in effect["levels"] if level["mean"] is not None]
    drawn = [t.y[0] for t in fig.data if t.mode == "lines+markers"]
    assert sorted(drawn) == sorted(means)


def test_parallel_coordinates_have_a_place_for_what_is_not_active(study):
    (lines,) = figure(study, "parallel").data
    by_label = {dimension.label: dimension for dimension in lines.dimensions}
    assert "not active" in by_label["momentum"].ticktext
    assert "not active" not in by_label["temperature"].ticktext
    assert list(by_label["val/accuracy"]["values"]) == list(lines.line.color)
    low, high = by_label["lr"].range
    assert (low, high) == (-5, -1)


def test_the_contour_is_the_surface_of_the_report(study, data):
    fig = figure(study, "contour")
    (surface,) = traces(fig, type="contour")
    rows = [[None if cell is None or cell != cell else cell for cell in row] for row in surface.z]
    assert rows == data["surface"]["values"]
    assert fig.layout.xaxis.title.text == "lr"


def test_the_verdict_has_every_run_on_fresh_seeds(study, data):
    fig = figure(study, "verdict")
    for name, arm in (("default", "default"), ("shipped", "winner")):
        assert [x for x, _ in points(fig, name=name)] == data["verdict"][arm]["values"]
        (mean,) = traces(fig, name=f"{name}: mean ± sd")
        assert mean.x[0] == data["verdict"][arm]["mean"]
        assert mean.error_x.array[0] == data["verdict"][arm]["sd"]


def test_the_timeline_has_every_trial_that_has_ended(study, data):
    fig = figure(study, "timeline")
    assert sum(len(t.x) for t in fig.data) == sum(row["end"] is not None for row in data["rows"])


def test_the_front_of_two_objectives_is_joined():
    objectives = [*OBJECTIVES, Objective("cost")]
    given = [
        type(r)(**{**r.__dict__, "values": r.values and (*r.values, 1000.0 - r.number), "violations": {}})
        for r in records(12)
    ]
    space = SearchSpace.from_mapping({"temperature": {"type": "float", "min": 0.5, "max": 1.5}})
    seen = build_report("two", given, objectives, space, workers=1)
    fig = figure(seen, "pareto")
    front = {row.values for row in seen.rows if row.number in seen.front}
    assert set(points(fig, name="front")) == front
    assert [fig.layout.xaxis.title.text, fig.layout.yaxis.title.text] == ["val/accuracy", "cost"]


@pytest.mark.parametrize("name", FIGURES)
def test_a_study_with_nothing_to_draw_says_why(name, nothing):
    fig = figure(nothing, name)
    assert not fig.data
    assert len(fig.layout.annotations[0].text) > 10


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_report_gives_the_same_figure_as_strict_json(name, study):
    assert figure(study, name).to_json() == figure(study, name).to_json()


def test_a_figure_that_there_is_not_is_refused_with_the_nearest(study):
    with pytest.raises(InputError, match="there is no figure `histroy` \\(did you mean `history`\\?"):
        figure(study, "histroy")


def test_without_plotly_it_says_what_to_install(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    with pytest.raises(RltuneError, match=r"pip install 'rltune\[notebook\]'"):
        figure(study, "history")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium")
def test_a_browser_draws_every_figure_and_finds_no_markup_in_names(study, tmp_path):
    sync_api = pytest.importorskip("playwright.sync_api")
    parts = [figure(study, name).to_html(full_html=False, include_plotlyjs=not i) for i, name in enumerate(FIGURES)]
    file = tmp_path / "figures.html"
    file.write_text("<!doctype html><meta charset=utf-8>" + "".join(parts), encoding="utf-8")
    said = []
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--use-gl=swiftshader"])
        tab = browser.new_page(viewport={"width": 1000, "height": 900})
        tab.on("dialog", lambda dialog: said.append(dialog.message))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(file.as_uri())
        tab.wait_for_function(f"document.querySelectorAll('.main-svg').length >= {len(FIGURES)}")
        tab.mouse.move(300, 300)
        texts = tab.evaluate("[...document.querySelectorAll('svg text')].map((each) => each.textContent)")
        images = tab.evaluate("document.querySelectorAll('img').length")
        browser.close()
    assert said == []
    assert images == 0
    assert TAG in texts
    assert any(CHOICE[:9] in text for text in texts)
