"""report.html: what it says, that it is self-contained and escaped, and that its numbers are those of `--json`."""

import json
import math
import re
import warnings
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from optuna.trial import TrialState
from typer.testing import CliRunner

from analysis.study_records import trial
from reporting.report_study import CHOICE, MESSAGE, OBJECTIVES, PLAN, SPACE, TAG, records, report
from rltune import config, session
from rltune.analysis.rows import rows
from rltune.cli.app import app
from rltune.objective import Objective
from rltune.protocol.budget import FullRun
from rltune.reporting.build import build_report
from rltune.reporting.html.page import page
from rltune.reporting.live import PAUSE, LivePage
from rltune.types import Cause


class Reader(HTMLParser):
    """The elements and the text that a browser would find."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.links, self.inside, self.words, self.island = Counter(), [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements[tag] += 1
        self.links += [value for name, value in attrs if name in ("href", "src", "data", "action", "srcset")]
        self.inside.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if any(tag == each for each, _ in self.inside):
            while self.inside.pop()[0] != tag:
                pass

    def handle_data(self, data):
        tag, attrs = self.inside[-1] if self.inside else ("", {})
        if attrs.get("id") == "report":
            self.island += data
        elif tag not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def study():
    return report(records())


@pytest.fixture(scope="module")
def shown(study):
    return page(study)


def test_the_numbers_of_the_figures_are_those_of_json_to_the_last_bit(study, shown):
    plain = json.dumps(study.to_json(), allow_nan=False, sort_keys=True)
    assert json.dumps(json.loads(Reader(shown).island), sort_keys=True) == plain


def test_it_answers_a_readers_questions_in_their_order(study, shown):
    text = Reader(shown).text
    best = study.recommended.number
    said = [
        f"Ship trial {best}",
        "95 % interval, untouched seeds",
        "What changes against the default",
        "optimizer.lr",
        "Best so far",
        "Learning curves",
        "fANOVA",
        "All parameters at once",
        "What failed",
        "stopped by pruner",
        "full runs",
        "of a budget of 60 FRE",
        "The seed ledger",
        "Next steps",
        "Trials",
        "How to reproduce",
        "0f" * 32,
        "node7",
    ]
    place = 0
    for words in said:
        place = text.find(words, place)
        assert place >= 0, f"{words} is not there, or not behind what comes before it"
    gain, low, high = study.verdict.gain, study.verdict.low, study.verdict.high
    assert f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]" in text


def test_evidence_of_every_failure_and_stop(study, shown):
    text = Reader(shown).text
    failed = next(f for f in study.failures if f.cause is Cause.ERROR)
    assert text.count("ValueError: <b> lr </b> </script> & more") >= len(failed.trials)
    assert re.search(r"kl missed by \d+ of \d+ complete trials, by 0.5 at least", text)


def test_what_looks_like_a_tag_stays_text(study, shown):
    reader = Reader(shown)
    assert reader.elements["script"] == 2, "the numbers, and our own script"
    assert reader.elements["img"] == 0
    assert "<b><code>" not in shown
    assert TAG in reader.text
    island = json.loads(reader.island)
    assert island["axes"][2]["choices"] == [CHOICE, "plain"]
    assert any(row["why"] == MESSAGE for row in island["rows"])


def test_it_needs_nothing_but_itself(shown):
    assert [link for link in Reader(shown).links if not link.startswith(("#", "data:"))] == []
    addresses = set(re.findall(r"https?://[^\s\"')]+", shown))
    assert addresses == {"http://www.w3.org/2000/svg"}, "a name, not an address"
    assert "@import" not in shown
    assert "url(" not in shown
    assert "default-src 'none'" in shown


def test_the_same_study_gives_the_same_page(shown):
    assert page(report(records())) == shown


def test_a_thousand_trials_with_curves_stay_small(study):
    many = [
        trial(n, 0.7, {"optimizer.lr": 1e-3 / (n + 1), "temperature": n / 1000, TAG: "plain"}, curve=curve(n))
        for n in range(1000)
    ]
    assert len(page(replace(study, rows=rows(many))).encode()) < 1_500_000


def curve(number):
    return {step: math.sin(number + step / 7) for step in range(1, 101)}


def headline(made):
    return Reader(page(made)).text.partition("Reproduce ")[2][:200]


def test_the_headline_says_why_the_default_stays(study):
    kept = replace(study.verdict, ship=False, detectable=0.02)
    text = headline(replace(study, verdict=kept))
    assert text.startswith("Keep your default What the finals had promised did not hold on untouched seeds.")
    assert "A gain below 0.02 could hardly have been seen" in text


def test_the_headline_does_not_run_ahead(study):
    assert headline(replace(study, verdict=replace(study.verdict, ship=None))).startswith("Not decided yet")
    assert headline(replace(study, verdict=None)).startswith("Best so far: trial")
    assert headline(replace(study, verdict=None, recommended=None)).startswith("Nothing to ship")


@pytest.mark.parametrize(
    "given",
    [
        [],
        [trial(0, None, state=TrialState.WAITING)],
        [trial(i, None, cause=Cause.ERROR, message="") for i in range(12)],
        [trial(i, float(i), violations={"kl": math.inf}) for i in range(12)],
        [trial(i, None, state=TrialState.PRUNED, params={}) for i in range(12)],
        [trial(i, 1.0, {"optimizer.lr": 1e-3}) for i in range(12)],
    ],
    ids=["empty", "waiting", "all failed", "all infeasible", "pruned at once", "all equal"],
)
def test_any_study_has_a_page(given):
    found = report(given, plan={}, origin=None)
    assert json.loads(Reader(page(found)).island)["name"] == "by <hand>"


def test_full_runs_are_counted_as_the_budget_counts_them(study):
    made = [trial(i, 0.5, curve={20: 0.5}) for i in range(3)]
    half = trial(3, 0.1, state=TrialState.PRUNED, curve={10: 0.1})
    lost, again = trial(4, cause=Cause.LOST, curve={5: 0.1}), trial(5, 0.5, curve={20: 0.5}, retry_of=4)
    spending = report([*made, half, lost, again], plan=PLAN).spending
    assert spending.full_runs == 4.5
    assert spending.full_runs_by_step == (1.0, 2.0, 3.0, 3.5, 4.5)
    assert spending.gpu_hours == pytest.approx(2 * 60 / 3600)
    assert study.spending.full_runs < len(study.rows)


def test_without_a_horizon_full_runs_are_counted_by_time():
    whole = [trial(i, 0.5, ran=(20.0 * i, 20.0 * i + 10)) for i in range(3)]
    half = trial(3, 0.1, state=TrialState.PRUNED, ran=(60, 65))
    assert report([*whole, half], full_run=FullRun()).spending.full_runs == 3.5
    assert report([half], full_run=FullRun()).spending.full_runs == 1.0, "nobody knows better yet"


def test_several_objectives_have_a_front():
    two = [*OBJECTIVES, Objective("seconds")]
    several = [replace(r, values=r.values and (r.values[0], 10 * r.values[0] + r.number % 7)) for r in records()]
    made = build_report("two", several, two, SPACE, workers=2)
    assert len(made.front) > 1
    assert f"On the front: {' , '.join(str(n) for n in made.front)}" in Reader(page(made)).text
    assert "On the front" not in Reader(page(report(records()))).text


# --- the file ---------------------------------------------------------------------------------------------------------

TRAIN = """
import math

def train(config, trial):
    x = math.log10(config["lr"])
    for step in range(1, 4):
        trial.report(step, {"score": 1 - (x + 2) ** 2 - 0.5 / step})
"""

STUDY = """\
name: small
n_trials: 12
trainer: {function: "report_job:train"}
search_space: {lr: {type: float, min: 1e-4, max: 1.0, log: true, default: 0.001}}
evaluation: {metric: score, direction: maximize}
executor: inline
algorithm: random
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A finished study."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report_job.py").write_text(TRAIN)
    (tmp_path / "study.yaml").write_text(STUDY)
    session.run(config.load(tmp_path / "study.yaml"))
    return tmp_path / "runs" / "small"


def rltune(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_a_session_leaves_the_page_and_report_json_has_its_numbers(folder):
    left = (folder / "report.html").read_text(encoding="utf-8")
    told = rltune("report", folder, "--json")
    assert json.dumps(json.loads(Reader(left).island), sort_keys=True) == json.dumps(
        json.loads(told.stdout), sort_keys=True
    )
    assert rltune("report", folder).stdout.endswith(f"\nas a page: {folder / 'report.html'}\n")
    assert (folder / "report.html").read_text(encoding="utf-8") == left


def test_a_session_analyses_its_study_once(tmp_path, monkeypatch):
    (tmp_path / "report_job.py").write_text(TRAIN)
    (tmp_path / "study.yaml").write_text(STUDY)
    made = []
    real = session.build_report
    monkeypatch.setattr("rltune.session.build_report", lambda *a, **k: made.append(real(*a, **k)) or made[-1])
    monkeypatch.chdir(tmp_path)
    result = session.run(config.load(tmp_path / "study.yaml"))
    assert (result.folder.report).exists()
    assert len(made) == 1
    repr(result)
    assert len(made) == 1, "what is asked of the result later is that of the page"


def test_the_page_goes_where_it_is_asked_for(folder, tmp_path):
    left = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    assert rltune("report", folder, "--html", tmp_path / "mine.html").exit_code == 0
    assert (tmp_path / "mine.html").read_bytes() == left
    rltune("report", folder, "--json")
    assert not (folder / "report.html").exists()
    refused = rltune("report", folder, "--html", tmp_path / "nowhere" / "mine.html")
    assert "nowhere" in str(refused.exception)


def test_a_folder_that_takes_no_page_still_has_a_report(folder):
    (folder / "report.html").unlink()
    (folder / "report.html").mkdir()
    told = rltune("report", folder)
    assert told.exit_code == 0
    assert "score" in told.stdout
    assert "was not written" in told.stderr


# --- while it runs ----------------------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_running_study_has_a_fresh_page_each_half_minute(study, tmp_path):
    clock, told = Clock(), []
    live = LivePage(tmp_path / "report.html", lambda: study, clock)
    changed = live.after(told.append)
    written = []
    for second in range(0, 100, 5):
        clock.now = float(second)
        (tmp_path / "report.html").unlink(missing_ok=True)
        changed("a record")
        if (tmp_path / "report.html").exists():
            written.append(second)
    assert written == [PAUSE, 2 * PAUSE, 3 * PAUSE]
    assert len(told) == 20


def test_a_page_that_takes_long_comes_seldom(study, tmp_path):
    clock, made = Clock(), []

    def slow():
        clock.now += 5.0
        made.append(clock.now)
        return study

    changed = LivePage(tmp_path / "report.html", slow, clock).after(lambda _: None)
    for second in range(0, 600, 5):
        clock.now = max(clock.now, float(second))
        changed("a record")
    assert made == [35.0 + 105 * i for i in range(6)], "5 s of each 105"


def test_a_page_that_cannot_be_made_is_told_once_and_ends_nothing(tmp_path):
    def broken():
        raise RuntimeError("no forest")

    clock = Clock()
    live = LivePage(tmp_path / "report.html", broken, clock)
    with pytest.warns(UserWarning, match=r"report\.html was not written \(no forest\); the study goes on"):
        live.write()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        live.write()
    assert not (tmp_path / "report.html").exists()
