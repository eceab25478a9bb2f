from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.trust import figure, landscapes
from benchmarks.trust.play import by_rltune, naively, play
from benchmarks.trust.rules import FINALS

from rltune.protocol.finals import Rules, shares


def drawn(truth: str, noise: str = "gaussian", n: int = 200, seed: int = 3) -> landscapes.Studies:
    return landscapes.studies(landscapes.TRUTHS[truth], landscapes.NOISES[noise], n, 30, seed)


@pytest.mark.parametrize("noise", landscapes.NOISES)
def test_noise_has_no_mean(noise: str) -> None:
    studies = drawn("null", noise)
    assert abs(studies.runs.mean()) < 0.03
    assert 2.0 < studies.runs.std() < 3.6


def test_common_seeds_fall_on_all_alike_but_in_the_search() -> None:
    runs = drawn("null", "common seeds").runs
    assert np.corrcoef(runs[:, 0, 1, 0], runs[:, 1, 1, 0])[0, 1] > 0.3
    assert abs(np.corrcoef(runs[:, 0, 0, 0], runs[:, 1, 0, 0])[0, 1]) < 0.2


def test_naively_chosen_gains_are_overstated() -> None:
    found = naively(drawn("ordinary", n=2000), 30)
    assert found["bias"] > 2.5
    assert 0.04 < found["worse"] < 0.10


def test_rltune_ships_worse_ones_less_often_and_prints_the_truth() -> None:
    studies = drawn("near-optimal", n=400)
    ours, plain = by_rltune(studies, shares(30), Rules()), naively(studies, 30)
    assert ours["worse"] < plain["worse"] / 2
    assert abs(ours["bias_printed"]) < 1.0
    assert ours["true_gain"] > plain["true_gain"]


def test_null_studies_claim_next_to_nothing() -> None:
    assert by_rltune(drawn("null"), shares(30), Rules())["claims"] < 0.05


@pytest.mark.parametrize("rule", FINALS)
def test_no_rule_spends_more_than_the_budget(rule: str) -> None:
    studies = drawn("ordinary", n=20)
    for truth, runs in zip(studies.truth, studies.runs, strict=True):
        played = play(truth, runs, shares(30), Rules(), FINALS[rule])
        assert 19 <= played.spent <= 30
        assert played == play(truth, runs, shares(30), Rules(), FINALS[rule])


def test_real_runs_keep_their_means(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    rows = [{"i": i, "seed": s, "final": 0.1 * i + 0.01 * s} for i in range(8) for s in range(3)]
    path.write_text("\n".join(map(json.dumps, rows)))
    studies = landscapes.tabulated(path, "ordinary", 300, 6, seed=0)
    assert studies.truth[:, 0] == pytest.approx(1.0)
    assert studies.runs.mean(axis=(2, 3)) == pytest.approx(studies.truth, abs=1.0)
    assert landscapes.tabulated(path, "near-optimal", 3, 6, seed=0).truth[0, 0] == pytest.approx(71.0)


def test_the_figure_is_that_of_its_figures() -> None:
    cell = {who: {"true_gain": 2.0, "ships": 0.5, "bias": bias} for who, bias in (("naive", 3.1), ("rltune", 0.0))}
    text = figure.svg([("ordinary", cell)])
    assert ">7.1<" in text
    assert text.count(">4.0<") == 3
