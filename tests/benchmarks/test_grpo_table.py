"""The table of GRPO trainings: how it is measured, kept, and made a problem of."""

from __future__ import annotations

import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.grpo import measure, space, table

EXAMPLE = Path(__file__).parents[2] / "examples" / "grpo_digits"
STEPS = [1024, 2048]


def made_up(number: int, seed: int, params: dict[str, Any], last: float) -> measure.Run:
    curves = {metric: [0.25, last] for metric in table.METRICS}
    about = {"configuration": number, "seed": seed, "params": params, "seconds": 6.5}
    return {**about, "steps": STEPS, "curves": curves}


def written(path: Path, runs: list[measure.Run], after: str = "") -> Path:
    path.write_text("".join(json.dumps(run) + "\n" for run in runs) + after)
    return path


@pytest.fixture
def points() -> list[dict[str, Any]]:
    return [dict(space.DEFAULT), *space.spread(7)]


class TestSpace:
    def test_every_configuration_can_be_trained(self, points, monkeypatch):
        monkeypatch.syspath_prepend(str(EXAMPLE))
        pytest.importorskip("torch")
        import train
        from ruamel.yaml import YAML

        base = train.flatten(YAML(typ="safe", pure=True).load(EXAMPLE / "config.yaml"))
        children = itertools.islice(space.crossings(points, np.arange(8.0)), 200)
        for params in (*points, *space.spread(200), *children):
            train.read_config(base | space.overrides(params))  # refuses what it cannot train

    def test_the_default_is_the_examples_own(self, monkeypatch):
        monkeypatch.syspath_prepend(str(EXAMPLE))
        pytest.importorskip("torch")
        import train
        from ruamel.yaml import YAML

        base = train.flatten(YAML(typ="safe", pure=True).load(EXAMPLE / "config.yaml"))
        assert train.read_config(base | space.overrides(space.DEFAULT)) == train.read_config(base)

    def test_crossings_come_from_the_best(self, points):
        scores = np.array([0.9, 0.8, *[0.1] * 6])
        space_of_two = [points[0], points[1]]
        few = itertools.islice(space.crossings(space_of_two, scores[:2]), 100)
        choices = [child["policy.scheduler.name"] == points[0]["policy.scheduler.name"] for child in few]
        same = points[0]["policy.scheduler.name"] == points[1]["policy.scheduler.name"]
        assert sum(choices) > (80 if same else 20)

    def test_the_same_points_whenever_it_is_gone_on_with(self, points):
        assert points[1:] == space.spread(7)
        assert space.spread(256)[:7] == space.spread(7)


class TestMeasure:
    def test_only_what_is_missing_is_trained(self, points, tmp_path):
        pytest.importorskip("torch")
        known = [made_up(number, 0, points[number], 0.1 * number) for number in (0, 1, 2)]
        raw = written(tmp_path / "raw.jsonl", known, after='{"configuration": 3, "se')
        (run,) = measure.measure(raw, n_configurations=4, n_seeds=1, workers=1)
        assert (run["configuration"], run["seed"]) == (3, 0)
        assert run["steps"] == list(range(1024, 10241, 1024))
        assert 0 <= run["curves"][table.OBJECTIVE][-1] <= 1
        assert run["seconds"] > 0
        assert [each["configuration"] for each in measure.read(raw)] == [0, 1, 2, 3]
        assert list(measure.measure(raw, 4, 1, 1)) == []


class TestTable:
    def test_what_was_measured_is_what_is_kept(self, points, tmp_path):
        runs = [made_up(number, seed, points[number], 0.5 + seed / 512) for number in (0, 1) for seed in (0, 1)]
        runs[3]["curves"]["train/kl"] = [math.inf, math.nan]
        kept = table.pack(runs, tmp_path / "table.npz")
        assert kept.configurations == points[:2]
        assert list(kept.steps) == STEPS
        assert kept.curves[table.OBJECTIVE].tolist() == [[[0.25, 0.5], [0.25, 0.5 + 1 / 512]]] * 2
        assert kept.curves["train/kl"][1, 1, 0] == math.inf
        assert math.isnan(kept.curves["train/kl"][1, 1, 1])
        assert kept.seconds.tolist() == [[6.5, 6.5]] * 2

    def test_a_configuration_that_lacks_a_seed_is_left_out(self, points, tmp_path):
        runs = [made_up(number, seed, points[number], 0.5) for number, seed in [(0, 0), (0, 1), (1, 0)]]
        assert table.pack(runs, tmp_path / "table.npz").configurations == points[:1]

    def test_the_shipped_one(self):
        shipped = table.load()
        accuracy = shipped.curves[table.OBJECTIVE]
        n, seeds, steps = accuracy.shape
        assert n >= 400
        assert (seeds, steps) == (3, 10)
        assert shipped.configurations[0] == dict(space.DEFAULT)
        assert all(space.SPACE.is_feasible(each) for each in shipped.configurations)
        assert ((accuracy >= 0) & (accuracy <= 1)).all()
        assert accuracy[:, :, -1].mean(axis=1).max() > accuracy[0, :, -1].mean() + 0.1  # there is something to tune


class TestProblem:
    @pytest.fixture(scope="class")
    def surrogate(self) -> table.Surrogate:
        return table.Surrogate(table.load())

    def test_a_row_comes_out_about_as_it_was_measured(self, surrogate):
        shipped = table.load()
        measured = shipped.curves[table.OBJECTIVE].mean(axis=1)
        told = np.array([surrogate.curve(params) for params in shipped.configurations])
        assert np.corrcoef(measured[:, -1], told[:, -1])[0, 1] > 0.9

    def test_its_noise_is_that_of_real_runs(self, surrogate):
        shipped = table.load()
        rng = np.random.default_rng(0)
        params = shipped.configurations[0]
        runs = np.array([surrogate.noisy(params, rng) for _ in range(200)])
        assert abs(runs.mean(axis=0) - surrogate.curve(params)).max() < 0.02
        real = shipped.curves[table.OBJECTIVE][:, :, -1].std(axis=1, ddof=1)
        assert np.median(real) / 3 < runs[:, -1].std() < 3 * np.sqrt(np.mean(real**2))


def test_the_command_tells_what_it_has(points, tmp_path, monkeypatch, capsys):
    from benchmarks.grpo import __main__ as command

    raw = written(tmp_path / "raw.jsonl", [made_up(0, seed, points[0], 0.5) for seed in (0, 1)])
    monkeypatch.setattr(table.pack, "__defaults__", (tmp_path / "table.npz",))
    monkeypatch.setattr(sys, "argv", ["grpo", "--configurations", "0", "--raw", str(raw)])
    command.main()
    assert "1 configurations, 0.0 hours of one core" in capsys.readouterr().out
