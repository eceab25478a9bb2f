"""`import hydra`: a sweeper block becomes a study with the same search space, by Hydra's own reading of it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from rltune import config as cfg
from rltune.space import SearchSpace

pytest.importorskip("hydra")

CONFIG = """\
defaults:
  - override hydra/sweeper: optuna
  - override hydra/sweeper/sampler: tpe
hydra:
  sweeper:
    sampler: {seed: 123, n_startup_trials: 5, warn_independent_sampling: false}
    direction: maximize
    study_name: sphere
    storage: sqlite:///x.db
    n_trials: 25
    n_jobs: 2
    params:
      lr: tag(log, interval(1e-5, 1e-1))
      x: interval(-5.5, 5.5)
      whole: int(interval(1, 8))
      biglog: tag(log, int(interval(1, 512)))
      odd: range(1, 9, step=2)
      share: range(0.0, 1.0, 0.1)
      opt: choice(adam, sgd)
      batch: 8,16,32
      flag: choice(true, false)
      +new: choice(1, 2.5)
      text: choice("a b", c)
      fixed: 3
lr: 0.001
x: 9.0
opt: adam
"""

MEANT = {  # what hydra-optuna-sweeper makes of them
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "x": FloatDistribution(-5.5, 5.5),
    "whole": IntDistribution(1, 8),
    "biglog": IntDistribution(1, 512, log=True),
    "odd": IntDistribution(1, 9, step=2),
    "share": FloatDistribution(0.0, 1.0, step=0.1),
    "opt": CategoricalDistribution(["adam", "sgd"]),
    "batch": CategoricalDistribution([8, 16, 32]),
    "flag": CategoricalDistribution([True, False]),
    "+new": CategoricalDistribution([1, 2.5]),
    "text": CategoricalDistribution(["a b", "c"]),
}


@pytest.fixture
def sweeper(rltune, job):
    (job / "train.py").touch()

    def read(text, *options):
        (job / "config.yaml").write_text(text)
        return rltune("import", "hydra", "config.yaml", "-o", "made.yaml", *options)

    return read


def space_of(file):
    study = cfg.load(file)
    return SearchSpace.from_mapping(study.search_space, study.constraints, study.derived)


def test_the_search_space_is_the_sweepers(rltune, sweeper, job):
    shown = sweeper(CONFIG, "--metric", "accuracy")
    assert shown.code == 0, shown.err
    assert space_of(job / "made.yaml").distributions == MEANT
    study = cfg.load(job / "made.yaml")
    assert (study.name, study.n_trials, study.seed, study.executor.workers) == ("sphere", 25, 123, 2)
    assert (study.algorithm.name, study.algorithm.options) == ("tpe", {"n_startup_trials": 5})
    assert (study.evaluation.metric, study.evaluation.direction) == ("accuracy", "maximize")
    assert rltune("check", "made.yaml").code == 0


def test_the_sweepers_default_ends_no_trial_early(rltune, job):
    (job / "sweeper.yaml").write_text("n_trials: 5\nparams: {x: 'interval(0, 1)'}\n")
    shown = rltune("import", "hydra", "sweeper.yaml", "-o", "made.yaml")
    assert shown.code == 0, shown.err
    study = cfg.load(job / "made.yaml")
    assert (study.algorithm.name, study.pruner.name) == ("auto", "none")
    assert "  sweeper.yaml:1: the sweeper takes what the application returns" in shown.out


def test_its_own_values_are_the_defaults_where_they_lie_in_the_range(sweeper, job):
    assert sweeper(CONFIG).code == 0
    search_space = cfg.load(job / "made.yaml").search_space
    assert {name: spec["default"] for name, spec in search_space.items() if "default" in spec} == {
        "lr": 0.001,
        "opt": "adam",
    }


def test_the_words_of_the_command_are_read_back_by_hydra(rltune, sweeper, job):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    assert sweeper(CONFIG, "--command", "python train.py {overrides}").code == 0
    study, parser = cfg.load(job / "made.yaml"), OverridesParser.create()
    assert list(study.trainer.command) == ["python", "train.py", "{overrides}", "fixed=3"]
    from rltune.trainers.config_text import overrides

    space, rng = space_of(job / "made.yaml"), np.random.default_rng(1)
    for _ in range(50):
        params = space.sample(rng)
        read = {o.get_key_element(): o.value() for o in map(parser.parse_override, overrides(params))}
        assert {name: getattr(v, "text", v) for name, v in read.items()} == params


def test_what_has_no_counterpart_is_named_with_its_line(sweeper, job):
    shown = sweeper(CONFIG)
    for place in (
        "config.yaml:6: hydra.sweeper.sampler.warn_independent_sampling: not taken over",
        "config.yaml:7: hydra.sweeper.direction: the sweeper takes what the application returns",
        "config.yaml:9: hydra.sweeper.storage: not taken over",
        "what ran is not known",
    ):
        assert place in shown.out, place
    assert "put your own command here" in (job / "made.yaml").read_text()


def test_the_older_form(rltune, sweeper, job):
    shown = sweeper("""\
hydra:
  sweeper:
    direction: [minimize, maximize]
    search_space:
      x: {type: float, low: -5.5, high: 5.5, step: 0.5}
      y: {type: categorical, choices: [-5, 0, 5]}
      z: {type: int, low: 1, high: 100, log: true}
      w: {type: int, low: 2, high: 10, step: 4, log: false}
""")
    assert shown.code == 0, shown.err
    assert space_of(job / "made.yaml").distributions == {
        "x": FloatDistribution(-5.5, 5.5, step=0.5),
        "y": CategoricalDistribution([-5, 0, 5]),
        "z": IntDistribution(1, 100, log=True),
        "w": IntDistribution(2, 10, step=4),
    }
    study = cfg.load(job / "made.yaml")
    assert study.evaluation.metric == "objective_0"
    assert study.evaluation.secondary_metrics == {"objective_1": "maximize"}
    assert rltune("check", "made.yaml").code == 0


def test_the_basic_sweeper_is_a_grid_of_the_same_points(rltune, sweeper, job):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    params = {"lr": "0.1,0.01", "n": "range(1, 4)", "half": "range(0, 2, 0.5)", "opt": "choice(adam, sgd)"}
    block = "".join(f"      {name}: {value}\n" for name, value in params.items())
    shown = sweeper(f"hydra:\n  sweeper:\n    params:\n{block}  launcher: {{n_jobs: 4}}\n")
    assert shown.code == 0, shown.err
    space, parser = space_of(job / "made.yaml"), OverridesParser.create()
    for name, value in params.items():
        there = list(parser.parse_override(f"{name}={value}").sweep_iterator())
        assert sorted(map(str, space.parameters[name].grid_points())) == sorted(map(str, there))
    study = cfg.load(job / "made.yaml")
    assert (study.algorithm.name, study.n_trials, study.executor.workers) == ("grid", 2 * 3 * 4 * 2, 4)
    assert rltune("check", "made.yaml").code == 0


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("opt: choice(adam, sgd)", "opt: choice(adam", "config.yaml:19: hydra.sweeper.params.opt: Hydra cannot read"),
        ("opt: choice(adam, sgd)", "opt: glob(*)", "needs Hydra's config groups to be known"),
        ("opt: choice(adam, sgd)", "opt: choice([1], [2])", "must be a number, text, true, false or null"),
        ("opt: choice(adam, sgd)", "opt: ${other}", "`opt=${other}` reads another place of the config"),
        ("interval(-5.5, 5.5)", "interval(5.5, -5.5)", "config.yaml:14: hydra.sweeper.params.x"),
        (
            "direction: maximize",
            "direction: max",
            "config.yaml:7: hydra.sweeper.direction: must be minimize or maximize",
        ),
        ("n_trials: 25", "n_trials: some", "config.yaml:10: hydra.sweeper.n_trials: must be a whole number"),
        ("sweeper: optuna", "sweeper: ax", "config.yaml:1: defaults: `ax` is another sweeper"),
        ("direction: maximize", "custom_search_space: my.f", "is a function that changes the search space"),
        ("  sweeper:\n", "  other:\n", "there is no `hydra.sweeper`"),
    ],
)
def test_what_would_mean_something_else_is_refused(sweeper, job, old, new, told):
    assert old in CONFIG
    shown = sweeper(CONFIG.replace(old, new, 1))
    assert (shown.code, shown.out) == (2, "")
    assert told in shown.err
    assert not (job / "made.yaml").exists()


def test_a_file_of_the_group(sweeper, job):
    assert sweeper("_target_: hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper\n"
                   "params: {x: 'interval(0, 1)'}\n").code == 0  # fmt: skip
    assert space_of(job / "made.yaml").distributions == {"x": FloatDistribution(0.0, 1.0)}


def test_without_hydra(sweeper, monkeypatch):
    monkeypatch.setitem(sys.modules, "hydra.core.override_parser.overrides_parser", None)
    shown = sweeper(CONFIG)
    assert shown.code == 2
    assert "pip install 'rltune[hydra]'" in shown.err


def test_a_study_file_is_no_sweeper(rltune, tmp_path):
    (tmp_path / "study.yaml").write_text(
        "search_space: {lr: {type: float, min: 0.1, max: 1.0}}\n"
        "trainer: {function: 'job:train'}\n"
        "evaluation: {metric: loss, direction: minimize}\n"
    )
    shown = rltune("import", "hydra", str(tmp_path / "study.yaml"))
    assert shown.code == 2
    assert "study.yaml:2: trainer: this is a study file of rltune, not a sweeper of Hydra" in shown.err
