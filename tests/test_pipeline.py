"""The guide's automated pipeline, called as the guide calls it, and without the guide's faults."""

from __future__ import annotations

import gc
import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rltune
from rltune import AutomatedHyperparameterOptimization, HyperparameterManager, OptimizationObjective
from rltune.errors import StudyFileError

SPACE = {"lr": ("float", 1e-6, 1e-2, {"log": True}), "bs": ("categorical", [8, 16, 32])}
NOTHING_YET = {"best_config": None, "best_score": None, "total_trials": 0, "optimization_history": []}


def loss(config):
    return (math.log10(config["lr"]) + 4) ** 2 + (config["bs"] != 16)


class TestAsTheGuideCallsIt:
    def test_finds_a_good_configuration(self):
        pipeline = AutomatedHyperparameterOptimization(search_algorithm="bayesian", n_trials=30)
        best, value = pipeline.optimize(loss, SPACE)
        assert value == loss(best) < 0.5
        report = pipeline.generate_report()
        assert list(report) == ["best_config", "best_score", "total_trials", "optimization_history"]
        assert (report["best_config"], report["best_score"]) == (best, value)
        assert report["total_trials"] == len(report["optimization_history"]) == 30

    def test_before_it_ran_there_is_nothing(self):
        assert AutomatedHyperparameterOptimization().generate_report() == NOTHING_YET

    def test_the_report_has_the_best_trial_not_the_last(self):
        """In the guide it is the last one, and the history is always empty."""
        pipeline = AutomatedHyperparameterOptimization("random", n_trials=12)
        pipeline.optimize(loss, SPACE)
        report = pipeline.generate_report()
        history = report["optimization_history"]
        assert [entry["number"] for entry in history] == list(range(12))
        assert report["best_score"] == min(entry["score"] for entry in history) < history[-1]["score"]
        assert report["best_config"] in [entry["config"] for entry in history]

    def test_the_function_runs_here_and_sees_what_it_closes_over(self):
        seen = []

        def objective(config):
            seen.append((os.getpid(), config))
            return loss(config)

        pipeline = AutomatedHyperparameterOptimization("random", n_trials=5)
        pipeline.optimize(objective, SPACE)
        history = pipeline.generate_report()["optimization_history"]
        assert seen == [(os.getpid(), entry["config"]) for entry in history]
        assert [entry["score"] for entry in history] == [loss(config) for _, config in seen]
        assert all(entry["state"] == "complete" and entry["cause"] is None for entry in history)
        assert all(entry["seconds"] >= 0 for entry in history)

    def test_the_report_is_not_the_pipelines_own_memory(self):
        pipeline = AutomatedHyperparameterOptimization("random", n_trials=2)
        best, _ = pipeline.optimize(loss, SPACE)
        best["lr"] = None
        report = pipeline.generate_report()
        report["best_config"]["lr"] = report["optimization_history"][0]["config"]["lr"] = None
        again = pipeline.generate_report()
        assert again["best_config"]["lr"] is not None
        assert again["optimization_history"][0]["config"]["lr"] is not None

    def test_with_the_guides_other_classes(self, tmp_path):
        objective = OptimizationObjective("validation_loss", constraints={"memory": (0, 20)})
        pipeline = AutomatedHyperparameterOptimization(n_trials=15)
        best, value = pipeline.optimize(
            lambda config: objective.evaluate({"validation_loss": loss(config), "memory": config["bs"]}), SPACE
        )
        assert best["bs"] <= 20
        history = pipeline.generate_report()["optimization_history"]
        assert {entry["cause"] for entry in history if entry["score"] == math.inf} <= {"diverged"}
        assert value == min(entry["score"] for entry in history)
        manager = HyperparameterManager(tmp_path)
        manager.save_config(best, "best")
        assert manager.load_config("best") == best


class TestOptions:
    def test_maximize(self):
        pipeline = AutomatedHyperparameterOptimization("random", n_trials=10, direction="maximize")
        _, value = pipeline.optimize(loss, SPACE)
        assert value == max(entry["score"] for entry in pipeline.generate_report()["optimization_history"])

    def test_the_same_seed_the_same_trials(self):
        def configs(seed):
            pipeline = AutomatedHyperparameterOptimization(n_trials=6, seed=seed)
            pipeline.optimize(loss, SPACE)
            return [entry["config"] for entry in pipeline.generate_report()["optimization_history"]]

        assert configs(1) == configs(1) != configs(2)

    @pytest.mark.parametrize("algorithm", ["bayesian", "random", "sobol", {"name": "tpe", "multivariate": True}])
    def test_any_sampler_with_its_options(self, algorithm):
        pipeline = AutomatedHyperparameterOptimization(algorithm, n_trials=3)
        best, value = pipeline.optimize(loss, SPACE)
        assert value == loss(best)

    def test_a_search_space_as_in_the_study_file(self):
        space = {
            "lr": {"type": "float", "min": 1e-6, "max": 1e-2, "log": True},
            "bs": {"type": "categorical", "choices": [8, 16, 32]},
        }
        histories = []
        for each in (space, SPACE):
            pipeline = AutomatedHyperparameterOptimization("random", n_trials=4)
            pipeline.optimize(loss, each)
            histories.append([entry["config"] for entry in pipeline.generate_report()["optimization_history"]])
        assert histories[0] == histories[1]

    def test_names_with_dots_nest_as_the_function_sees_them(self):
        pipeline = AutomatedHyperparameterOptimization("random", n_trials=3)
        best, value = pipeline.optimize(lambda c: c["policy"]["lr"], {"policy.lr": ("float", 0.0, 1.0)})
        assert best == {"policy": {"lr": value}}

    def test_in_processes_of_their_own(self):
        pid = os.getpid()
        pipeline = AutomatedHyperparameterOptimization("random", n_trials=3, executor={"name": "local", "workers": 2})
        _, value = pipeline.optimize(lambda config: float(os.getpid() != pid), SPACE)
        assert value == 1.0
        assert pipeline.generate_report()["total_trials"] == 3

    def test_a_folder_of_ones_own_is_a_study_and_goes_on(self, tmp_path):
        out = tmp_path / "study"
        pipeline = AutomatedHyperparameterOptimization("random", n_trials=3, out=out)
        pipeline.optimize(loss, SPACE)
        first = pipeline.generate_report()
        assert len(rltune.load(out).records) == 3
        pipeline.n_trials = 5
        pipeline.optimize(loss, SPACE)
        second = pipeline.generate_report()
        assert second["total_trials"] == 5
        assert second["optimization_history"][:3] == first["optimization_history"]

    def test_a_temporary_folder_goes_with_the_pipeline(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        pipeline = AutomatedHyperparameterOptimization("random", n_trials=2)
        pipeline.optimize(loss, SPACE)
        pipeline.optimize(loss, SPACE)
        assert pipeline.generate_report()["total_trials"] == 2
        assert list(tmp_path.rglob("journal.log"))
        del pipeline
        gc.collect()
        assert list(tmp_path.iterdir()) == []


class TestGrid:
    def test_tries_every_point_once(self):
        space = {
            "a": ("categorical", [1, 2, 3]),
            "b": ("int", 0, 4, {"step": 2}),
            "c": ("float", 0, 1, {"n_points": 2}),
        }
        pipeline = AutomatedHyperparameterOptimization("grid", n_trials=100)
        best, value = pipeline.optimize(lambda config: config["a"] * config["b"] + config["c"], space)
        history = pipeline.generate_report()["optimization_history"]
        assert sorted((e["config"]["a"], e["config"]["b"], e["config"]["c"]) for e in history) == [
            (a, b, c) for a in (1, 2, 3) for b in (0, 2, 4) for c in (0.0, 1.0)
        ]
        assert (best["b"], best["c"], value) == (0, 0.0, 0.0)

    def test_a_range_without_points_is_refused_with_what_to_do(self):
        calls = []
        pipeline = AutomatedHyperparameterOptimization("grid", n_trials=5)
        message = r"search_space\.lr: is continuous, so a grid needs to know its points \(add `n_points: 5`"
        with pytest.raises(StudyFileError, match=message):
            pipeline.optimize(calls.append, SPACE)
        assert calls == []


class TestWrong:
    @pytest.mark.parametrize("algorithm", ["nope", "baysian", "", {"name": "nope"}])
    def test_an_unknown_algorithm(self, algorithm, tmp_path):
        calls = []
        pipeline = AutomatedHyperparameterOptimization(algorithm, out=tmp_path / "study")
        with pytest.raises(ValueError, match=r"there is no sampler `(nope|baysian|)`.*`bayesian`.*`grid`.*`random`"):
            pipeline.optimize(calls.append, SPACE)
        assert calls == []
        assert not (tmp_path / "study").exists()
        assert pipeline.generate_report() == NOTHING_YET

    def test_everything_else_is_listed_at_once(self):
        pipeline = AutomatedHyperparameterOptimization(n_trials=0, direction="down", executor="nope")
        with pytest.raises(ValueError) as caught:
            pipeline.optimize(loss, {"lr": ("float", 1)})
        assert {problem.key[0] for problem in caught.value.problems} == {
            "n_trials",
            "evaluation",
            "executor",
            "search_space",
        }

    def test_a_function_without_a_config(self):
        with pytest.raises(ValueError, match="takes no config as its first parameter"):
            AutomatedHyperparameterOptimization().optimize(lambda: 0.0, SPACE)


class TestTrialsThatFail:
    def test_do_not_end_the_study_and_say_why(self):
        def objective(config):
            if config["bs"] != 16:
                raise ZeroDivisionError(f"bs {config['bs']}")
            return loss(config)

        pipeline = AutomatedHyperparameterOptimization("random", n_trials=25)
        best, _ = pipeline.optimize(objective, SPACE)
        assert best["bs"] == 16
        history = pipeline.generate_report()["optimization_history"]
        assert len(history) == 25
        failed = [entry for entry in history if entry["config"]["bs"] != 16]
        assert {(entry["state"], entry["cause"], entry["score"]) for entry in failed} == {("fail", "error", None)}
        assert all(e["message"].startswith(f"ZeroDivisionError: bs {e['config']['bs']}\n") for e in failed)

    @pytest.mark.parametrize(("returned", "cause"), [(math.nan, "diverged"), (math.inf, "diverged"), ("x", "error")])
    def test_nor_do_values_that_are_none(self, returned, cause):
        values = iter([returned, 1.0, returned])
        pipeline = AutomatedHyperparameterOptimization("random", n_trials=3)
        assert pipeline.optimize(lambda _: next(values), SPACE)[1] == 1.0
        history = pipeline.generate_report()["optimization_history"]
        assert [entry["cause"] for entry in history] == [cause, None, cause]

    def test_all_of_them(self):
        pipeline = AutomatedHyperparameterOptimization("random", n_trials=12)
        assert pipeline.optimize(lambda config: 1 / 0, SPACE) == (None, None)
        report = pipeline.generate_report()
        assert (report["best_config"], report["best_score"], report["total_trials"]) == (None, None, 12)

    @settings(max_examples=10, deadline=None)
    @given(st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=1, max_size=12))
    def test_the_best_is_the_best_of_those_that_worked(self, values):
        left = iter(values)

        def objective(config):
            value = next(left)
            if value is None:
                raise RuntimeError
            return value

        pipeline = AutomatedHyperparameterOptimization("random", n_trials=len(values))
        _, best = pipeline.optimize(objective, SPACE)
        assert best == min((v for v in values if v is not None), default=None)
        assert [entry["score"] for entry in pipeline.generate_report()["optimization_history"]] == values

    def test_ctrl_c_ends_the_study_and_keeps_what_there_was(self):
        calls = []

        def objective(config):
            calls.append(config)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return float(len(calls))

        pipeline = AutomatedHyperparameterOptimization("random", n_trials=10)
        with pytest.raises(KeyboardInterrupt):
            pipeline.optimize(objective, SPACE)
        assert len(calls) == 4
        report = pipeline.generate_report()
        assert report["best_score"] == 1.0
        assert [entry["score"] for entry in report["optimization_history"]] == [1.0, 2.0, 3.0]


def test_nothing_is_left_where_it_was_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    AutomatedHyperparameterOptimization("random", n_trials=2).optimize(loss, SPACE)
    assert list(Path.cwd().iterdir()) == []
