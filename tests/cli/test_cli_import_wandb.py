"""`import wandb`: a sweep becomes a study that draws from the same distributions, or is refused with its lines."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from rltune import config as cfg
from rltune.space import SearchSpace

SWEEP = """\
program: train.py
name: sorter
project: rl
method: bayes
metric: {name: loss, goal: maximize, target: 0.1}
parameters:
  lr: {distribution: log_uniform, min: -11.5, max: -4.6}
  wd: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}
  batch: {distribution: q_log_uniform_values, q: 8, min: 32, max: 256}
  tokens: {distribution: q_log_uniform_values, min: 100, max: 10000}
  layers: {min: 1, max: 6}
  dropout: {min: 0, max: 0.5}
  hidden: {distribution: q_uniform, min: 30, max: 250, q: 16}
  temperature: {distribution: q_uniform, min: 0.1, max: 1.0, q: 0.1}
  decay: {distribution: inv_log_uniform, min: 1, max: 7}
  act: {values: [relu, gelu], probabilities: [0.3, 0.7]}
  bias: {values: [true, false]}
  epochs: {value: 10}
  note: {value: "a {b}"}
  opt:
    parameters:
      name: {values: [adam, sgd]}
early_terminate: {type: hyperband, s: 2, eta: 3, max_iter: 27, strict: true}
run_cap: 40
"""
N = 4000


@pytest.fixture
def sweep(rltune, job):
    """Imports a sweep into study.yaml."""
    (job / "train.py").touch()

    def read(text, *options):
        (job / "sweep.yaml").write_text(text)
        return rltune("import", "wandb", "sweep.yaml", "-o", "made.yaml", *options)

    return read


def drawn(file):
    """Configurations of the study's search space, as a trainer gets them."""
    study = cfg.load(file)
    space = SearchSpace.from_mapping(study.search_space, study.constraints, study.derived)
    rng = np.random.default_rng(0)
    return [space.resolve(space.sample(rng)) for _ in range(N)]


def rounded(q):
    return lambda x: np.round(x / q) * q


SAMPLES = {  # by W&B's documentation, from numbers of the unit interval
    "lr": lambda u: np.exp(-11.5 + 6.9 * u),
    "wd": lambda u: np.exp(np.log(1e-5) + u * np.log(1e4)),
    "batch": lambda u: rounded(8)(np.exp(np.log(32) + u * np.log(8))),
    "tokens": lambda u: rounded(1)(np.exp(np.log(100) + u * np.log(100))),
    "layers": lambda u: np.floor(1 + 6 * u),
    "dropout": lambda u: 0.5 * u,
    "decay": lambda u: 1 / np.exp(1 + 6 * u),
}


def test_every_distribution_is_drawn_as_there(sweep, job):
    assert sweep(SWEEP).code == 0
    configurations = drawn(job / "made.yaml")
    u = (np.arange(N) + 0.5) / N
    for name, there in SAMPLES.items():
        here = np.array([c[name] for c in configurations])
        assert stats.ks_2samp(here, there(u)).statistic < 0.035, name


def test_rounded_values_are_those_of_there(sweep, job):
    assert sweep(SWEEP).code == 0
    configurations = drawn(job / "made.yaml")
    u = np.linspace(0, 1, 100_001)
    wanted = {
        "hidden": set(rounded(16)(30 + 220 * u).tolist()),
        "batch": set(SAMPLES["batch"](u).tolist()),
        "temperature": {round(x, 10) for x in rounded(0.1)(0.1 + 0.9 * u).tolist()},
    }
    for name, values in wanted.items():
        assert {round(c[name], 10) for c in configurations} == values, name
    for name in ("batch", "hidden", "layers", "tokens"):
        assert all(type(c[name]) is int for c in configurations), name


def test_the_command_is_the_agents(rltune, sweep, job):
    assert sweep(SWEEP).code == 0
    shown = rltune("check", "made.yaml", "--json")
    assert shown.code == 0, shown.err
    command = next(iter(shown.json["draws"]))["command"] if "draws" in shown.json else shown.json["commands"][0]
    words = command if isinstance(command, list) else command.split()
    assert words[:2] == ["python", "train.py"]
    names = [word.partition("=")[0] for word in words[2:]]
    assert names == [
        *("--lr", "--wd", "--batch", "--tokens", "--layers", "--dropout", "--hidden", "--temperature", "--decay"),
        *("--act", "--bias", "--epochs", "--note", "--opt.name"),
    ]
    assert "--epochs=10" in words
    assert "--note=a {b}" in words


def test_what_else_the_sweep_says(sweep, job):
    assert sweep(SWEEP).code == 0
    study = cfg.load(job / "made.yaml")
    assert (study.name, study.n_trials, study.algorithm.name) == ("sorter", 40, "auto")
    assert (study.evaluation.metric, study.evaluation.direction) == ("loss", "maximize")
    assert study.pruner.name == "halving"
    assert study.pruner.options == {"min_resource": 3, "reduction_factor": 3}  # the bands are 27 / 9 and 27 / 3


def test_a_sweep_that_ends_no_run_early_is_a_study_that_ends_none(sweep, job):
    assert sweep("".join(line for line in SWEEP.splitlines(True) if "early_terminate" not in line)).code == 0
    assert cfg.load(job / "made.yaml").pruner.name == "none"


def test_what_has_no_counterpart_is_named_with_its_line(sweep, job):
    shown = sweep(SWEEP)
    file = " ".join((job / "made.yaml").read_text().replace("\n#", " ").split())
    for place in (
        "sweep.yaml:3: project: not taken over",
        "sweep.yaml:5: metric.target: not taken over",
        "sweep.yaml:16: parameters.act.probabilities: not taken over",
        "sweep.yaml:17: parameters.bias: W&B writes True and False",
        "sweep.yaml:20: parameters.opt: nested",
        "sweep.yaml:23: early_terminate.strict: not taken over",
    ):
        assert place in shown.out, place
        assert place in file, place


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("{min: 1, max: 6}", "{distribution: normal, mu: 1, sigma: 0.5}",
         "`normal` has no counterpart: it has no ends (write distribution: uniform, min: 0, max: 2)"),
        ("{min: 1, max: 6}", "{distribution: normal}", "sweep.yaml:11: parameters.layers.distribution: `normal`"),
        ("{min: 1, max: 6}", "{distribution: q_log_normal}", "write distribution: log_uniform_values, min: 0.135"),
        ("{min: 1, max: 6}", "{distribution: beta, a: 2}", "its scale is neither linear nor logarithmic"),
        ("{min: 1, max: 6}", "{distribution: uniforn, min: 1, max: 6}", "did you mean `uniform`?"),
        ("{min: 1, max: 6}", "{min: 6, max: 1}", "sweep.yaml:11: parameters.layers.min: 6 is not below `max`, 1"),
        ("{min: 1, max: 6}", "{min: 1}", "says neither a value nor a range"),
        ("{min: 1, max: 6}", "{distribution: uniform, min: one, max: 6}", "parameters.layers.min: must be a number"),
        ("[relu, gelu]", "[[relu], gelu]", "sweep.yaml:16: parameters.act.values.0: must be a number, text"),
        ("method: bayes", "method: bayesian", "sweep.yaml:4: method: is the text 'bayesian'"),
        ("method: bayes", "method: grid", "parameters.lr: has no grid: `method: grid` needs values"),
        ("goal: maximize", "goal: max", "sweep.yaml:5: metric.goal: must be minimize or maximize, got the text 'max'"),
        ("name: loss, ", "", "give it by --metric and --direction"),
        ("program: train.py", "command: [python, x.py, '${args_json}']", "write ${args_json_file}"),
        ("program: train.py", "command: [python, x.py, '${args_no_boolean_flags}']", "parameters.bias: is a flag"),
        ("program: train.py", "command: ['${envvar:HOME}/x', '${args}']", "`${envvar:HOME}` has no counterpart"),
        ("  act:", "  seed: {values: [1, 2]}\n  act:", "rltune runs configurations on seeds of its own"),
        ("run_cap: 40", "run_cap: many", "sweep.yaml:24: run_cap: must be a whole number from 1"),
        ("parameters:", "other:", "parameters: is missing or empty"),
        ("run_cap: 40", "run_cap: 40\nrun_cap: 41", "sweep.yaml:25"),
    ],
)  # fmt: skip
def test_what_would_mean_something_else_is_refused(sweep, job, old, new, told):
    assert old in SWEEP
    shown = sweep(SWEEP.replace(old, new, 1))
    assert (shown.code, shown.out) == (2, "")
    assert told in shown.err
    assert not (job / "made.yaml").exists()


@pytest.mark.parametrize(
    ("macro", "words"),
    [
        ("${args_no_hyphens}", ["lr={lr}", "epochs=3"]),
        ("${args_no_equals}", ["--lr", "{lr}", "--epochs", "3"]),
        ("${args_append_hydra}", ["+lr={lr}", "+epochs=3"]),
        ("${args_json_file}", ["{config}"]),
    ],
)
def test_the_forms_of_the_command(rltune, sweep, job, macro, words):
    text = "method: random\nmetric: {name: loss}\nparameters: {lr: {min: 0.1, max: 1.0}, epochs: {value: 3}}\n"
    assert sweep(f'{text}command: ["${{env}}", "${{interpreter}}", train.py, "{macro}"]\n').code == 0
    assert list(cfg.load(job / "made.yaml").trainer.command) == ["python", "train.py", *words]
    assert rltune("check", "made.yaml").code == 0
    if macro == "${args_json_file}":
        assert cfg.load(job / "made.yaml").trainer.config == {"epochs": 3}


def test_a_grid_is_the_same_grid(rltune, sweep, job):
    shown = sweep("""\
program: train.py
method: grid
metric: {name: loss}
parameters:
  a: {values: [1, 2, 3]}
  b: {distribution: q_uniform, min: 0, max: 1, q: 0.25}
  c: {min: 2, max: 3}
""")
    assert shown.code == 0, shown.err
    study = cfg.load(job / "made.yaml")
    assert (study.algorithm.name, study.n_trials) == ("grid", 30)
    assert rltune("check", "made.yaml").code == 0


def test_a_trainer_in_place_of_the_program_gets_the_constants(rltune, sweep, job):
    shown = sweep(SWEEP.replace("program: train.py\n", ""), "--trainer", "job:train")
    assert shown.code == 0, shown.err
    study = cfg.load(job / "made.yaml")
    assert study.trainer.function == "job:train"
    assert rltune("check", "made.yaml").code == 0
    assert all((c["epochs"], c["note"]) == (10, "a {b}") for c in drawn(job / "made.yaml"))
    shown = sweep(SWEEP[: SWEEP.index("  opt:")], "--trainer", "job:train", "--force")
    assert shown.code == 0, shown.err
    assert cfg.load(job / "made.yaml").trainer.config == {"epochs": 10, "note": "a {b}"}
    assert rltune("check", "made.yaml").code == 0


def test_words_that_yaml_has_read_in_two_ways(sweep):
    shown = sweep(SWEEP.replace("[relu, gelu]", "[on, gelu]"))
    assert "parameters.act.values: on: text here; W&B's YAML takes it for true or false" in shown.out


def test_exponents_that_look_like_values(sweep):
    shown = sweep(SWEEP.replace("{min: 1, max: 6}", "{distribution: log_uniform, min: 0.0001, max: 0.1}"))
    assert "sweep.yaml:11: parameters.layers.distribution: its ends are exponents: e**0.0001 to e**0.1" in shown.out


def test_nothing_is_overwritten_unasked(rltune, sweep, job):
    (job / "made.yaml").write_text("mine")
    assert "made.yaml exists already" in sweep(SWEEP).err
    assert (job / "made.yaml").read_text() == "mine"
    assert sweep(SWEEP, "--force").code == 0
    (job / "sorter.yaml").write_text(SWEEP)
    shown = rltune("import", "wandb", "sorter.yaml", "--force")
    assert "sorter.yaml is what is read" in shown.err


def test_as_json(sweep):
    found = sweep(SWEEP, "--json").json
    assert found["file"] == "made.yaml"
    assert json.dumps(found["remarks"]).count("sweep.yaml:") == len(found["remarks"]) > 5
