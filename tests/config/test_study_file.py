"""Whole study files: what is accepted, and the very words in which the rest is refused."""

import re
from pathlib import Path
from textwrap import dedent, indent

import pytest

from rltune.config import StudyConfig, from_mapping, load
from rltune.errors import StudyFileError

GUIDE = Path(__file__).parents[2] / ".." / "shared" / "guide" / "hyperparameter-optimization.md"

MINIMAL = """\
trainer: {function: "job:train"}
search_space:
  lr: {type: float, min: 1e-5, max: 1e-3, log: true}
evaluation: {metric: loss, direction: minimize}
"""


@pytest.fixture
def write(tmp_path):
    def write_file(text: str) -> Path:
        file = tmp_path / "s.yaml"
        file.write_text(text)
        return file

    return write_file


@pytest.fixture
def refusal(write):
    """What is said about a file, without the folder it lies in."""

    def say(text: str, *overrides: str) -> str:
        file = write(text)
        with pytest.raises(StudyFileError) as caught:
            load(file, overrides)
        return str(caught.value).replace(str(file), file.name)

    return say


class TestAccepted:
    def test_the_shortest_file_and_its_defaults(self, write):
        config = load(write(MINIMAL))
        assert config.name == "s"
        assert (config.algorithm.name, config.n_trials, config.timeout_hours, config.seed) == ("auto", 100, None, 0)
        assert (config.trainer.function, config.trainer.command, config.trainer.config) == ("job:train", None, None)
        assert (config.pruner.name, [guard.name for guard in config.guards]) == ("forecast", ["divergence"])
        assert (config.executor.name, config.executor.workers, config.executor.gpus_per_trial) == ("local", None, 0)
        assert (config.protocol.name, config.protocol.finalists) == ("auto", None)
        assert (config.evaluation.cross_validation, config.evaluation.early_stopping) == (False, False)
        assert (config.storage, config.out, config.max_failures_in_a_row) == ("journal", "runs", 10)

    def test_names_with_options(self, write):
        config = load(
            write(
                MINIMAL
                + dedent("""\
                algorithm: {name: tpe, multivariate: true}
                pruner: {name: median, n_startup_trials: 3}
                guards: [divergence, {name: divergence, watch: [loss]}]
                protocol: {name: full, finalists: 3}
                executor: {name: "my.module:Executor", workers: 3, address: auto}
                """)
            )
        )
        assert (config.algorithm.name, config.algorithm.options) == ("tpe", {"multivariate": True})
        assert (config.pruner.name, config.pruner.options) == ("median", {"n_startup_trials": 3})
        assert config.guards[1].options == {"watch": ["loss"]}
        assert (config.protocol.name, config.protocol.finalists, config.protocol.final_runs) == ("full", 3, None)
        assert (config.executor.workers, config.executor.options) == (3, {"address": "auto"})

    def test_a_command(self, write):
        text = MINIMAL.replace(
            '{function: "job:train"}',
            "{command: [python, train.py, --steps, 100, --lr, 0.5], env: {N: 1}, metrics: {stdout: json, step: epoch}}",
        )
        trainer = load(write(text)).trainer
        assert trainer.command == ("python", "train.py", "--steps", "100", "--lr", "0.5")
        assert trainer.env == {"N": "1"}
        assert (trainer.metrics.source, trainer.metrics.where, trainer.metrics.step) == ("stdout", "json", "epoch")

    @pytest.mark.parametrize(
        ("metrics", "source", "where"),
        [
            ("jsonl", "jsonl", None),
            ("{jsonl: m.jsonl}", "jsonl", "m.jsonl"),
            ("{tensorboard: tb}", "tensorboard", "tb"),
        ],
    )
    def test_other_sources_of_metrics(self, write, metrics, source, where):
        text = MINIMAL.replace('{function: "job:train"}', f"{{command: [a], metrics: {metrics}}}")
        trainer = load(write(text)).trainer
        assert (trainer.metrics.source, trainer.metrics.where) == (source, where)

    @pytest.mark.parametrize(
        ("size", "n_bytes"),
        [("8GB", 8 * 10**9), ("7.5 GiB", round(7.5 * 2**30)), ("8e9", 8 * 10**9), ("1000", 1000), ("512kb", 512_000)],
    )
    def test_sizes(self, write, size, n_bytes):
        assert load(write(MINIMAL + f"executor: {{memory_limit: {size}}}")).executor.memory_limit == n_bytes

    def test_early_stopping_makes_the_best_value_count_unless_said_otherwise(self, write):
        stopping = MINIMAL.replace("direction: minimize", "direction: minimize, early_stopping: true")
        assert load(write(stopping)).evaluation.value == "best"
        assert load(write(stopping), ["evaluation.value=last"]).evaluation.value == "last"

    def test_several_objectives(self, write):
        listed = load(write(MINIMAL), ["evaluation.secondary_metrics=[training_time]"])
        assert listed.evaluation.secondary_metrics == {"training_time": "minimize"}
        directed = load(write(MINIMAL), ["evaluation.secondary_metrics={accuracy: maximize}"])
        assert directed.evaluation.secondary_metrics == {"accuracy": "maximize"}

    def test_constraints_may_read_an_inline_base_config(self, write):
        text = MINIMAL.replace('"job:train"', '"job:train", config: {model: {heads: 8}}')
        load(write(text + "derived: {size: model.heads * 64}\n"))

    def test_constraints_that_read_a_base_config_file_are_judged_where_it_is_read(self, write):
        text = MINIMAL.replace('"job:train"', '"job:train", config: elsewhere.yaml')
        load(write(text + "derived: {size: model.heads * 64}\n"))

    def test_a_name_is_made_from_the_files(self, tmp_path):
        file = tmp_path / "my study (2).yaml"
        file.write_text(MINIMAL)
        assert load(file).name == "my-study-2"

    def test_a_function_given_from_python(self, write):
        def train(config):
            return 0.0

        assert load(write(MINIMAL), trainer=train).trainer.function is train
        without = "\n".join(MINIMAL.splitlines()[1:])
        assert load(write(without), trainer="other:train").trainer.function == "other:train"

    def test_a_mapping_given_from_python(self):
        np = pytest.importorskip("numpy")
        config = from_mapping(
            {
                "trainer": len,
                "search_space": {"lr": ("float", 1e-6, 1e-2, {"log": True}), "bs": ("categorical", [8, 16])},
                "evaluation": {"metric": "loss", "direction": "minimize"},
                "n_trials": np.int64(3),
            }
        )
        assert (config.name, config.n_trials, config.trainer.function) == ("study", 3, len)


class TestGuide:
    @pytest.fixture
    def examples(self, tmp_path):
        if not GUIDE.exists():
            pytest.skip("the guide lies beside the repository, in ../shared, and is not here")
        texts = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
        files = [tmp_path / "basic.yaml", tmp_path / "advanced.yaml"]
        for file, text in zip(files, texts, strict=True):
            file.write_text(text)
        return files

    def test_both_load_once_they_have_a_trainer(self, examples):
        basic, advanced = (load(file, ["trainer.function=job:train"]) for file in examples)
        assert (basic.algorithm.name, basic.n_trials, basic.timeout_hours) == ("bayesian", 100, 24)
        assert basic.search_space["learning_rate"] == {"type": "float", "min": 1e-5, "max": 1e-3, "log": True}
        assert (basic.evaluation.metric, basic.evaluation.n_folds) == ("validation_loss", 5)
        assert advanced.evaluation.metric == "validation_loss"
        assert advanced.evaluation.secondary_metrics == {"training_time": "minimize", "memory_usage": "minimize"}
        assert (advanced.evaluation.early_stopping, advanced.evaluation.patience) == (True, 10)
        assert from_mapping(advanced.to_mapping()) == advanced

    def test_and_say_that_it_is_missing(self, examples):
        for file in examples:
            with pytest.raises(StudyFileError) as caught:
                load(file)
            assert str(caught.value) == (
                f"{file}:1: trainer: is missing: nothing says what runs "
                '(use --trainer pkg.module:train, or write trainer: {function: "pkg.module:train"})'
            )


EVALUATION = "evaluation: {metric: loss, direction: minimize}"
TRAINER = 'trainer: {function: "job:train"}'

# What replaces which line of MINIMAL (or is put behind it), and what is said; line 5 is the first one behind.
WRONG = {
    "misspelt key": ("", "algorthm: tpe", "5: algorthm: unknown key (did you mean `algorithm`?)"),
    "misplaced key": ("", "metric: loss", "5: metric: unknown key (it belongs under evaluation)"),
    "misplaced key of the top": (
        EVALUATION,
        "evaluation: {metric: loss, direction: minimize, n_trials: 3}",
        "4: evaluation.n_trials: unknown key (it belongs at the top level)",
    ),
    "key of nothing": (
        "",
        "executor: {zzz: 1}",
        (
            "5: executor.zzz: unknown key (known: `name`, `workers`, `gpus_per_trial`, `gpus`, `timeout_minutes`, "
            "`setup_minutes`, `stall_minutes`, `memory_limit`, `grace_seconds`, `warm`, `address`, `resources`, "
            "`nodes`, `isolate`, `runtime_env`, `shared_storage`, `autoscaling`)"
        ),
    ),
    "text for a number": (
        "",
        'n_trials: "100"',
        "5: n_trials: must be a whole number, got the text '100' (write 100 without quotes)",
    ),
    "text for a float": (
        "",
        'timeout_hours: "1e-5"',
        "5: timeout_hours: must be a number, got the text '1e-5' (write 1e-5 without quotes)",
    ),
    "truth for a number": ("", "seed: true", "5: seed: must be a whole number, got true"),
    "whole float": ("", "n_trials: 1e2", "5: n_trials: must be a whole number, got 100.0 (write 100)"),
    "fraction": ("", "n_trials: 1.5", "5: n_trials: must be a whole number, got 1.5"),
    "zero": ("", "n_trials: 0", "5: n_trials: must be at least 1, got 0"),
    "zero time": ("", "timeout_hours: 0", "5: timeout_hours: must be above 0, got 0"),
    "infinite time": ("", "timeout_hours: .inf", "5: timeout_hours: must be a finite number, got inf"),
    "nothing": ("", "n_trials:", "5: n_trials: must be a whole number, got null (write a value, or remove the key)"),
    "yes": (
        "",
        "executor: {warm: yes}",
        "5: executor.warm: must be true or false, got the text 'yes' (write true)",
    ),
    "number for text": ("", "out: 3", '5: out: must be text, got 3 (write "3")'),
    "name": (
        "",
        "name: my study!",
        (
            "5: name: may hold letters, digits, `.`, `_` and `-`, begins with a letter or digit, and has at most 100; "
            "got the text 'my study!' (write my-study)"
        ),
    ),
    "storage": (
        "",
        "storage: jornal",
        "5: storage: must be journal or a URL, got the text 'jornal' (as in sqlite:///study.db)",
    ),
    "one text for a list": (
        "",
        'constraints: "lr < 1"',
        """5: constraints: must be a list, got the text 'lr < 1' (write ["lr < 1"])""",
    ),
    "unknown sampler": (
        "",
        "algorithm: bayesain",
        (
            "5: algorithm: there is no sampler `bayesain` (did you mean `bayesian`? known are `auto`, `bayesian`, "
            "`cmaes`, `gp`, `grid`, `nsga2`, `population`, `random`, `sobol`, `tpe`, and `module:Class` for one of "
            "your own)"
        ),
    ),
    "sampler without a name": ("", "algorithm: {seed: 3}", "5: algorithm.name: is missing (as in name: ...)"),
    # the trainer
    "no trainer": (
        TRAINER,
        "",
        (
            "2: trainer: is missing: nothing says what runs "
            '(use --trainer pkg.module:train, or write trainer: {function: "pkg.module:train"})'
        ),
    ),
    "empty trainer": (
        TRAINER,
        "trainer: {horizon: 3}",
        '1: trainer: has neither function nor command (as in function: "pkg.module:train")',
    ),
    "two trainers": (
        TRAINER,
        'trainer: {function: "job:train", command: [a]}',
        "1: trainer.command: stands beside function (keep the one that should run)",
    ),
    "trainer as text": (
        TRAINER,
        "trainer: job:train",
        "1: trainer: must be a mapping, got the text 'job:train' (write trainer: {function: job:train})",
    ),
    "function in a file": (
        TRAINER,
        "trainer: {function: src/train.py:main}",
        "1: trainer.function: must name a module, not a file, got the text 'src/train.py:main' (write src.train:main)",
    ),
    "function without colon": (
        TRAINER,
        "trainer: {function: job.train}",
        "1: trainer.function: must be module:function, got the text 'job.train' (write job:train)",
    ),
    "command as text": (
        TRAINER,
        'trainer: {command: "python train.py --config {config}"}',
        (
            "1: trainer.command: must be a list of words, got the text 'python train.py --config {config}' "
            '(write [python, train.py, --config, "{config}"])'
        ),
    ),
    "empty command": (
        TRAINER,
        "trainer: {command: []}",
        "1: trainer.command: must not be empty (as in [python, train.py])",
    ),
    "truth in a command": (
        TRAINER,
        "trainer: {command: [python, true]}",
        '1: trainer.command.1: must be text, got true (write "true")',
    ),
    "truth in the environment": (
        TRAINER,
        "trainer: {command: [a], env: {A: false}}",
        '1: trainer.env.A: must be text, got false (write "false")',
    ),
    "metrics of a function": (
        TRAINER,
        'trainer: {function: "job:train", metrics: jsonl}',
        "1: trainer.metrics: is for a command, not for a function (remove it)",
    ),
    "unknown source of metrics": (
        TRAINER,
        "trainer: {command: [a], metrics: json}",
        (
            "1: trainer.metrics: must be one of jsonl, stdout, tensorboard, got json "
            '(as in jsonl, {stdout: json}, {stdout: "loss=(?P<loss>.+)"} or {tensorboard: logs})'
        ),
    ),
    "source without a place": (
        TRAINER,
        "trainer: {command: [a], metrics: tensorboard}",
        "1: trainer.metrics: must be text, got null (as in {tensorboard: logs})",
    ),
    # the search space
    "min above max": (
        "  lr: {type: float, min: 1e-5, max: 1e-3, log: true}",
        "  lr: {type: float, min: 1.0, max: 0.5}",
        "3: search_space.lr.min: 1.0 is above `max`, 0.5 (swap them)",
    ),
    "log from zero": (
        "  lr: {type: float, min: 1e-5, max: 1e-3, log: true}",
        "  lr: {type: float, min: 0, max: 0.5, log: true}",
        (
            "3: search_space.lr.min: must be above 0 with `log: true`, got 0.0 "
            "(use a linear scale, without `log`; or raise it, and keep 0 by `zero`: min: 5e-5, zero: 0.2)"
        ),
    ),
    "unknown type": (
        "  lr: {type: float, min: 1e-5, max: 1e-3, log: true}",
        "  lr: {type: flaot, min: 1, max: 2}",
        (
            "3: search_space.lr.type: must be one of `float`, `int`, `categorical`, got the text 'flaot' "
            "(did you mean `float`?)"
        ),
    ),
    "constraint on nothing": (
        "",
        "constraints: ['lr < 1', 'lrr < 1']",
        "5: constraints.1: `lrr < 1`: there is no parameter `lrr` (did you mean `lr`?)",
    ),
    # the evaluation
    "no direction": (
        EVALUATION,
        "evaluation: {metric: loss}",
        "4: evaluation.direction: is missing (as in direction: minimize)",
    ),
    "misspelt direction": (
        EVALUATION,
        "evaluation: {metric: loss, direction: minimise}",
        "4: evaluation.direction: must be minimize or maximize, got the text 'minimise' (did you mean `minimize`?)",
    ),
    "the other spelling": (
        EVALUATION,
        "evaluation: {primary_metric: 3, direction: minimize}",
        '4: evaluation.primary_metric: must be text, got 3 (write "3")',
    ),
    "both spellings": (
        EVALUATION,
        "evaluation: {metric: a, primary_metric: b, direction: minimize}",
        "4: evaluation.primary_metric: stands beside metric, and means the same (keep one of them)",
    ),
    "primary among secondary": (
        EVALUATION,
        "evaluation: {metric: a, direction: minimize, secondary_metrics: [a]}",
        "4: evaluation.secondary_metrics: holds a, which is the primary metric (remove it)",
    ),
    "one fold": (
        EVALUATION,
        "evaluation: {metric: a, direction: minimize, cross_validation: true, n_folds: 1}",
        "4: evaluation.n_folds: must be at least 2, got 1",
    ),
    "folds without cross-validation": (
        EVALUATION,
        "evaluation: {metric: a, direction: minimize, n_folds: 5}",
        "4: evaluation.n_folds: does nothing without cross_validation (add cross_validation: true, or remove it)",
    ),
    "patience without early stopping": (
        EVALUATION,
        "evaluation: {metric: a, direction: minimize, patience: 5}",
        "4: evaluation.patience: does nothing without early_stopping (add early_stopping: true, or remove it)",
    ),
    "range without ends": (
        EVALUATION,
        "evaluation: {metric: a, direction: minimize, constraints: {kl: {}}}",
        "4: evaluation.constraints.kl: has neither min nor max (as in {max: 70e9})",
    ),
    "range upside down": (
        EVALUATION,
        "evaluation: {metric: a, direction: minimize, constraints: {kl: {min: 2, max: 1}}}",
        "4: evaluation.constraints.kl.min: must not be above max, got min 2 and max 1",
    ),
    "a pruner of one curve with several objectives": (
        EVALUATION,
        "evaluation: {metric: a, direction: minimize, secondary_metrics: [b]}\npruner: plateau",
        (
            "5: pruner: `plateau` watches one curve, and this study has 2 objectives "
            "(use evaluation.early_stopping, which goes by the primary metric, "
            "or a pruner that compares trials: median, percentile, halving or hyperband)"
        ),
    ),
    "a pruner of one curve over folds": (
        EVALUATION,
        "evaluation: {metric: a, direction: minimize, cross_validation: true}\npruner: plateau",
        (
            "5: pruner: `plateau` watches one curve, and over folds there is none "
            "(use evaluation.early_stopping, for the curve of each fold, or median, percentile, halving or hyperband)"
        ),
    ),
    "a seed of folds that the trainer splits": (
        EVALUATION,
        "evaluation: {metric: a, direction: minimize, cross_validation: {seed: 7}}",
        (
            "4: evaluation.cross_validation.seed: does nothing: the trainer splits by itself "
            '(remove it, or name the data: "train:dataset")'
        ),
    ),
    "an unknown kind of folds": (
        EVALUATION,
        "evaluation: {metric: a, direction: minimize, cross_validation: stratifed}",
        (
            "4: evaluation.cross_validation.kind: must be kfold, stratified, grouped, stratified_grouped or "
            "time_series, got the text 'stratifed' (did you mean `stratified`?)"
        ),
    ),
    "a kind of folds without data": (
        EVALUATION,
        "evaluation: {metric: a, direction: minimize, cross_validation: stratified}",
        '4: evaluation.cross_validation.kind: stratified needs the data that is split (as in data: "train:dataset")',
    ),
    "a time series that is split again": (
        EVALUATION,
        'evaluation: {metric: a, direction: minimize, cross_validation: {kind: time_series, data: "j:d", repeats: 2}}',
        "4: evaluation.cross_validation.repeats: time_series splits in one way only (remove it)",
    ),
    "data that is no function": (
        EVALUATION,
        "evaluation: {metric: a, direction: minimize, cross_validation: {data: data.csv}}",
        "4: evaluation.cross_validation.data: must be module:function, got the text 'data.csv' (write data:csv)",
    ),
    "no patience": (
        "",
        "study_patience: 0",
        "5: study_patience: must be at least 1, got 0",
    ),
    # pruners and guards
    "unknown pruner": (
        "",
        "pruner: medain",
        (
            "5: pruner: there is no pruner `medain` (did you mean `median`? known are `asha`, `forecast`, `halving`, "
            "`hyperband`, `median`, `none`, `patient`, `percentile`, `plateau`, and `module:Class` for one of your own)"
        ),
    ),
    "unknown option of a pruner": (
        "",
        "pruner:\n  name: median\n  n_startup: 3",
        (
            "7: pruner.n_startup: unknown option (did you mean `n_startup_trials`? `median` takes `n_startup_trials`, "
            "`n_warmup_steps`, `interval_steps`, `n_min_trials`)"
        ),
    ),
    "missing option of a pruner": (
        "",
        "pruner: percentile",
        (
            "5: pruner.percentile: is missing (`percentile` takes `percentile`, `n_startup_trials`, `n_warmup_steps`, "
            "`interval_steps`, `n_min_trials`)"
        ),
    ),
    "unknown guard": (
        "",
        "guards:\n  - divergence\n  - divergance",
        (
            "7: guards.1: there is no guard `divergance` (did you mean `divergence`? known are `collapse`, "
            "`divergence`, `grad_norm`, `hacking`, `kl`, `mismatch`, `no_signal`, `truncation`, "
            "and `module:function` for one of your own)"
        ),
    ),
    "guards as text": (
        "",
        "guards: divergence",
        """5: guards: must be a list, got the text 'divergence' (write ["divergence"])""",
    ),
    # the executor
    "unknown executor": (
        "",
        "executor: locl",
        (
            "5: executor: there is no executor `locl` (did you mean `local`? known are `inline`, `local`, `ray`, "
            "and `module:Class` for one of your own)"
        ),
    ),
    "a key of ray": (
        "",
        "executor: {nodes: 2}",
        "5: executor.nodes: does nothing: the executor is local (use the executor ray)",
    ),
    "resources": (
        "",
        "executor: {name: ray, resources: {gpu: 1.5}}",
        "5: executor.resources.gpu: must be a whole number, or a fraction below 1, got 1.5",
    ),
    "negative resources": (
        "",
        "executor: {name: ray, resources: {cpu: -1}}",
        "5: executor.resources.cpu: must be an amount from 0 on, got -1 (as in {cpu: 4, gpu: 0.5})",
    ),
    "two numbers of GPUs": (
        "",
        "executor: {name: ray, gpus_per_trial: 2, resources: {gpu: 1}}",
        "5: executor.gpus_per_trial: is 2, but resources has 1 of them (give one of the two)",
    ),
    "GPUs of a cluster": (
        "",
        "executor: {name: ray, gpus_per_trial: 1, gpus: [0]}",
        "5: executor.gpus: does nothing: Ray hands out its cluster's GPUs (give resources: {gpu: 1})",
    ),
    "a limit that nobody enforces": (
        "",
        "executor: {name: ray, isolate: false, memory_limit: 8GB}",
        ("5: executor.memory_limit: does nothing: without a process of its own, no trial can be ended (isolate: true)"),
    ),
    "size": (
        "",
        "executor: {memory_limit: 8 Gigs}",
        (
            "5: executor.memory_limit: must be a number of bytes or a size, got the text '8 Gigs' "
            "(as in 8GB, 7.5GiB or 8000000000)"
        ),
    ),
    "one and a half GPUs": (
        "",
        "executor: {gpus_per_trial: 1.5}",
        "5: executor.gpus_per_trial: must be a whole number, or a fraction below 1 to share a GPU, got 1.5",
    ),
    "more GPUs than there are": (
        "",
        "executor: {gpus_per_trial: 2, gpus: [0]}",
        "5: executor.gpus_per_trial: is 2, but only 1 may be used (name more gpus)",
    ),
    "GPUs for nobody": (
        "",
        "executor: {gpus: [0]}",
        "5: executor.gpus: does nothing while gpus_per_trial is 0 (add gpus_per_trial: 1)",
    ),
    "a GPU twice": ("", "executor: {gpus_per_trial: 1, gpus: [0, 0]}", "5: executor.gpus.1: names the GPU 0 twice"),
    "workers inline": (
        "",
        "executor: {name: inline, workers: 2}",
        "5: executor.workers: inline runs one trial at a time, got 2 (use the executor local)",
    ),
    "protocol": (
        "",
        "protocol: simpel",
        "5: protocol: must be auto, simple or full, got the text 'simpel' (did you mean `simple`?)",
    ),
}


class TestRefused:
    @pytest.mark.parametrize(("line", "instead", "message"), WRONG.values(), ids=WRONG)
    def test_one_thing(self, refusal, line, instead, message):
        text = MINIMAL.replace(line, instead) if line else MINIMAL + instead + "\n"
        said = refusal(text)
        assert said == f"s.yaml:{message}"

    def test_everything_at_once_in_the_order_of_the_file(self, refusal):
        said = refusal(
            dedent("""\
            algorthm: tpe
            trainer: {command: []}
            search_space:
              lr: {type: float, min: 2.0, max: 1.0}
              wd: {type: float, min: 0.0, max: 1.0, lgo: true}
            evaluation:
              direction: up
              patience: 3
            pruner: medain
            n_trials: -1
            """),
            "seed=x",
        )
        lines = [line.split(": ")[0:2] for line in said.splitlines()]
        assert lines[:2] == [["s.yaml:1", "algorthm"], ["s.yaml:2", "trainer.command"]]
        assert {line[0] for line in lines[2:-6]} == {"s.yaml:4", "s.yaml:5"}
        assert lines[-6:] == [
            ["s.yaml:6", "evaluation.metric"],
            ["s.yaml:7", "evaluation.direction"],
            ["s.yaml:8", "evaluation.patience"],
            ["s.yaml:9", "pruner"],
            ["s.yaml:10", "n_trials"],
            ["s.yaml", "seed"],
        ]
        assert said.splitlines()[-1].endswith("(given by --set seed=x)")

    def test_lines_are_right_below_the_root_key(self, refusal):
        nested = "hyperparameter_optimization:\n" + indent(MINIMAL + "n_trials: x\n", "  ")
        assert refusal(nested) == "s.yaml:6: n_trials: must be a whole number, got the text 'x'"

    def test_the_writers_of_validators_are_not_heard(self, refusal):
        text = "trainer: 3\nsearch_space: 3\nevaluation: 3\nexecutor: [1]\nguards: [3]\nprotocol: []\npruner: []\n"
        said = refusal(text)
        assert not re.search(r"pydantic|Input should|type=|Value error|errors\.", said)
        assert len(said.splitlines()) == 7

    def test_a_mapping_has_no_lines(self):
        with pytest.raises(StudyFileError) as caught:
            from_mapping({"trainer": len, "search_space": {"x": ("float", 0, 1)}, "evaluation": {"metric": "a"}})
        assert str(caught.value) == "study: evaluation.direction: is missing (as in direction: minimize)"

    def test_what_is_found_later_is_told_with_its_line(self, write):
        from rltune.errors import Problem

        config = load(write(MINIMAL + "algorithm: {name: tpe, x: 1}\n"), ["n_trials=3"])
        error = config.error([Problem(("algorithm", "x"), "unknown option"), Problem(("n_trials",), "too few")])
        assert [problem.line for problem in error.problems] == [5, None]
        assert str(error).endswith("n_trials: too few (given by --set n_trials=3)")


class TestStudyConfig:
    def test_cannot_be_changed(self, write):
        config = load(write(MINIMAL))
        with pytest.raises(ValueError, match="frozen"):
            config.n_trials = 3

    def test_is_equal_by_what_it_says(self, write):
        file = write(MINIMAL)
        assert load(file) == load(file, ["n_trials=100"])
        assert load(file) != load(file, ["n_trials=99"])
        assert isinstance(load(file), StudyConfig)
