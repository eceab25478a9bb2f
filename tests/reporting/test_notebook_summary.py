"""What a notebook shows of a study."""

import dataclasses
import re
from html.parser import HTMLParser

import pytest

import rltune
from reporting.report_study import TAG, records, report
from rltune.reporting import wording as w
from rltune.reporting.notebook import summary_html, summary_text
from trackers import spies


class Words(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.words, self.tags = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        assert not {name for name, _ in attrs} & {"href", "src", "onerror", "onload", "class", "id"}

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def study():
    return report(records())


def test_it_says_what_to_ship_and_why_with_the_numbers_of_the_report(study, tmp_path):
    shown = Words(summary_html(study, tmp_path / "report.html")).text
    verdict = study.verdict
    assert f"Ship trial {study.recommended.number}" in shown
    assert w.why_ship(verdict)[1:] in shown
    assert w.interval(verdict.gain, verdict.low, verdict.high) in shown
    assert w.plus_minus(verdict.default.mean, verdict.default.sd) in shown
    for change in study.changes:
        assert (change.parameter in shown) or not change.changed
    best = max(study.importance.fanova, key=study.importance.fanova.get)
    assert (
        f"{w.short_names(study.importance.fanova)[best]} {study.importance.fanova[best]:.0%}".replace("%", " %")
        in shown
    )
    assert str(tmp_path / "report.html") in shown


def test_it_is_small_needs_nothing_else_and_takes_no_name_for_markup(study, tmp_path):
    page = summary_html(study, tmp_path / "report.html")
    assert len(page) < 8000
    assert Words(page).tags <= {"div", "table", "thead", "tbody", "tr", "td", "th", "code"}
    assert "by <hand>" in Words(page).text
    assert TAG not in page


def test_it_reads_in_light_and_in_dark(study, tmp_path):
    """No text has a colour of paper or ink of its own: a notebook's theme has them."""
    page = summary_html(study, tmp_path / "report.html")
    assert set(re.findall(r"(?<!-)\bcolor:([^;\"]+)", page)) <= {"inherit", "#1f9d5c", "#c98a1f", "#7c8798", "#e0473f"}
    assert re.findall(r"background:([^;\"]+)", page) == ["#3b7be0"] * page.count("height:9px")


def test_one_line_says_it_on_a_terminal(study):
    line = summary_text(study)
    assert line.startswith("by <hand>: ")
    assert line.endswith(f"Ship trial {study.recommended.number}.")


def test_a_study_shows_itself(tmp_path):
    result = spies.study(tmp_path / "s")
    assert repr(result).startswith("<study: 5 of 5 trials: ")
    assert f"Best so far: trial {result.best.number}" in result._repr_html_()
    shown = Words(result._repr_html_()).text
    for name, value in result.best.params.items():
        assert f"{name} {w.value(value)}" in shown, "there is no default that it could differ from"
    (tmp_path / "s" / "study.yaml").write_text("n_trials: <b>")
    again = dataclasses.replace(result)  # has not made its report yet
    assert "<b>" not in again._repr_html_(), "a study file that is broken is told as text"
    assert repr(again) == f"<study in {tmp_path / 's'}>"


def test_a_frame_has_a_row_for_each_trial_with_the_columns_of_the_table(tmp_path):
    pd = pytest.importorskip("pandas", reason="needs pip install 'rltune[notebook]'")
    result = spies.study(tmp_path, n_trials=12)
    frame = result.trials_dataframe()
    assert list(frame.index) == [record.number for record in result.records]
    assert [frame.index.name, *frame.columns] == (tmp_path / "trials.csv").read_text().partition("\n")[0].split(",")
    for record in result.records:
        row = frame.loc[record.number]
        assert row["lr"] == record.params["lr"]
        assert row["optimizer"] == record.params["optimizer"]
        assert (row["loss"] == record.value) or (pd.isna(row["loss"]) and record.value is None)
    assert frame["lr"].dtype == float
    assert frame["feasible"].dtype == bool


def test_figures_are_asked_of_the_study(tmp_path):
    pytest.importorskip("plotly", reason="needs pip install 'rltune[notebook]'")
    result = spies.study(tmp_path)
    assert result.figure("history").data
    with pytest.raises(rltune.RltuneError, match="no figure"):
        result.figure("nothing")
    with pytest.raises(rltune.RltuneError):
        result.figure("history", metric="entropy")
