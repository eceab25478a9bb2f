"""Guards in shadow mode, from the study file to what `check`, `show` and `report` say of them."""

from __future__ import annotations

import pytest

TRAIN = """
def train(config, trial):
    for step in range(1, 7):
        score = 0.9 - 0.1 * step if config["lr"] > 0.4 else 0.5
        trial.report(step, {"score": score, "train/token_mult_prob_error": 1.1})
"""

STUDY = """\
name: small
n_trials: 6
trainer: {function: "job3:train"}
search_space:
  lr: {type: float, min: 0.01, max: 0.8}
evaluation: {metric: score, direction: maximize}
guards: [divergence, {name: collapse, mode: shadow, declines: 4}, mismatch]
executor: inline
algorithm: random
protocol: simple
"""


@pytest.fixture
def study(job):
    (job / "job3.py").write_text(TRAIN)
    (job / "study.yaml").write_text(STUDY)
    return job


def test_what_guards_would_have_ended_is_shown_and_counted(rltune, study):
    assert "collapse (mode: shadow, declines: 4), mismatch (mode: shadow)" in " ".join(
        rltune("check", "study.yaml").out.split()
    )
    assert rltune("run", "study.yaml").code == 0
    report = rltune("report", "--json").json
    assert report["failures"] == report["stops"] == []
    collapse, mismatch = sorted(report["shadows"], key=lambda shadow: shadow["guard"])
    assert mismatch["trials"] == list(range(6))
    assert mismatch["best"] == 0.5
    assert collapse["best"] == pytest.approx(0.3)
    assert 0 < len(collapse["trials"]) < 6
    printed = rltune("report").out
    assert "shadow mode  what guards would have ended" in printed
    shown = rltune("show", str(collapse["trials"][0])).out
    assert "shadow mode  guards that would have ended it" in shown
    assert "step 5, collapsed" in shown
    assert "step 5, mismatch" in shown
    assert "`score` went from 0.8 at step 1 to 0.4 at step 5" in " ".join(shown.split())


def test_a_mode_that_there_is_not(rltune, study):
    (study / "study.yaml").write_text(STUDY.replace("mode: shadow", "mode: shade"))
    refused = rltune("check", "study.yaml")
    assert refused.code == 2
    assert "guards.1.mode: must be kill or shadow, got the text 'shade'" in " ".join(refused.err.split())
