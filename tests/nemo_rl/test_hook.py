"""The launcher that adds an exact channel for metrics and a clean pause, in the stand-in checkout."""

from __future__ import annotations

import ast
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from rltune.folder import TrialDir
from rltune.trainers.nemo_rl import hook, isolation
from rltune.trainers.nemo_rl.channel import Channel
from rltune.trainers.nemo_rl.recipe import load_recipe
from rltune.trainers.nemo_rl.trainer import NemoRlTrainer
from rltune.types import Cause, Measurement, Outcome, Suggestion, TrialStopped
from rltune.worker import attempt

pytest.importorskip("omegaconf", reason="recipes are read with OmegaConf")
pytest.importorskip("tensorboard", reason="metrics are read from event files")

HOOK = Path(hook.__file__)
FALLBACK = "every metric was read from event files"
SAVING = {"checkpointing.enabled": True, "checkpointing.save_period": 1000}


@pytest.fixture
def make(stand_in_root: Path) -> Callable[..., NemoRlTrainer]:
    """A trainer that starts the stand-in by its `uv run`, where the package can be imported from anywhere."""

    def make(*, stand_in: str = "", overrides: Mapping[str, Any] | None = None, **options: Any) -> NemoRlTrainer:
        recipe = load_recipe(stand_in_root / "examples/configs/grpo_math_1B.yaml", stand_in_root, overrides or {})
        usual = {"horizon": 4, "env": {"STAND_IN": stand_in}, "warm_up": False}
        return NemoRlTrainer(recipe, overrides or {}, **usual | options)

    return make


@pytest.fixture
def suggestion(tmp_path: Path) -> Suggestion:
    directory = tmp_path / "study" / "trials" / "0007"
    directory.mkdir(parents=True)
    return Suggestion(7, {}, 11, directory)


def run(
    trainer: NemoRlTrainer, suggestion: Suggestion, report: Callable[[Measurement], object] = lambda _: None
) -> tuple[Outcome, list[Measurement]]:
    seen: list[Measurement] = []

    def both(measurement: Measurement) -> None:
        seen.append(measurement)
        report(measurement)

    return attempt(trainer, suggestion, both), seen


def log_of(suggestion: Suggestion) -> str:
    return (suggestion.directory / "stdout.log").read_text()


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run_script(script: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RLTUNE_HOOK")} | variables
    return subprocess.run(
        [sys.executable, str(HOOK), str(script), *words], env=env, capture_output=True, text=True, check=False
    )


class TestLauncher:
    """Where there is no NeMo RL at all."""

    def test_it_is_python_3_10_and_needs_nothing_else(self) -> None:
        tree = ast.parse(HOOK.read_text(), feature_version=(3, 10))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names

    def test_the_script_runs_as_if_called_by_itself(self, tmp_path: Path) -> None:
        (tmp_path / "beside.py").write_text("VALUE = 3\n")
        script = tmp_path / "script.py"
        script.write_text(
            "import sys, beside, __main__\n"
            "print(__name__, sys.argv[1:], beside.VALUE, sys.argv[0] == __file__, __main__.__file__ == __file__)\n"
            "print('as recipe.py lies beside the hook:', any(p.endswith('nemo_rl') for p in sys.path))\n"
            "sys.exit(7)\n"
        )
        ended = run_script(script, "--config", "a b", RLTUNE_HOOK_METRICS=str(tmp_path / "hook.jsonl"))
        assert ended.returncode == 7
        assert ended.stdout.splitlines()[0] == "__main__ ['--config', 'a b'] 3 True True"
        assert ended.stdout.splitlines()[1].endswith("False")

    def test_without_nemo_rl_it_says_so_in_a_line_for_each_part(self, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text("print('ran')\n")
        files = {"RLTUNE_HOOK_METRICS": str(tmp_path / "hook.jsonl"), "RLTUNE_HOOK_STOP": str(tmp_path / "stop")}
        ended = run_script(script, **files)
        assert (ended.returncode, ended.stdout) == (0, "ran\n")
        metrics, pause = ended.stderr.splitlines()
        assert "metrics come from event files alone: ModuleNotFoundError" in metrics
        assert "the run cannot be paused: ModuleNotFoundError" in pause
        assert not (tmp_path / "hook.jsonl").exists()

    def test_a_loop_in_another_process_is_out_of_reach(self, tmp_path: Path) -> None:
        script = tmp_path / "run_grpo_single_controller.py"
        script.write_text("print('ran')\n")
        ended = run_script(script, RLTUNE_HOOK_METRICS=str(tmp_path / "hook.jsonl"))
        assert ended.stdout == "ran\n"
        assert "trains in another process" in ended.stderr

    def test_a_container_that_was_not_given_the_variable(self, tmp_path: Path) -> None:
        script = tmp_path / "script.py"
        script.write_text("print('ran')\n")
        ended = run_script(script)
        assert ended.stdout == "ran\n"
        assert "RLTUNE_HOOK_METRICS is not set here" in ended.stderr


class TestBackend:
    def test_numbers_are_exact_and_nan_is_one(self, tmp_path: Path) -> None:
        import numpy as np

        backend = hook.Backend(tmp_path / "hook.jsonl")
        given = {"lr": 5e-07, "loss": math.nan, "n": np.int64(3), "one": np.array([0.1]), "many": np.ones(2), "s": "x"}
        backend.log_metrics(given, 3, "train", None, step_finished=True)
        (row,) = rows(tmp_path / "hook.jsonl")
        assert math.isnan(row.pop("train/loss"))
        assert row == {"step": 3, "train/lr": 5e-07, "train/n": 3.0, "train/one": 0.1}

    def test_seconds_of_gpu_monitors_are_left_out(self, tmp_path: Path) -> None:
        backend = hook.Backend(tmp_path / "hook.jsonl")
        backend.log_metrics({"node.0.mem_gb": 1.0, "ray/ray_step": 900}, 900, prefix="ray", step_metric="ray/ray_step")
        assert not (tmp_path / "hook.jsonl").exists()

    def test_whatever_else_backends_are_told_is_passed_over(self, tmp_path: Path) -> None:
        backend = hook.Backend(tmp_path / "hook.jsonl")
        backend.log_hyperparams({"lr": 1})
        backend.log_plot("figure", step=1, name="plot")
        backend.finish()

    def test_what_cannot_be_written_is_said_once(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        backend = hook.Backend(tmp_path / "no folder" / "hook.jsonl")
        backend.log_metrics({"loss": 1.0}, 1)
        backend.log_metrics({"loss": 1.0}, 2)
        assert capsys.readouterr().err.count("metrics are no longer written") == 1


class TestAttach:
    """A logger and a timer of another form than expected, and one that fails later."""

    def package(self, folder: Path, logger: str, timer: str = "class TimeoutChecker: check_save = len") -> Path:
        utils = folder / "nemo_rl" / "utils"
        utils.mkdir(parents=True)
        (utils / "logger.py").write_text(logger)
        (utils / "timer.py").write_text(timer)
        script = folder / "script.py"
        script.write_text("from nemo_rl.utils.logger import Logger\nLogger()\nprint('ran')\n")
        return script

    @pytest.mark.parametrize(
        ("logger", "said"),
        [
            ("class Logger: pass", "LookupError: nemo_rl.utils.logger has no Logger.log_metrics"),
            ("def Logger(): pass", "LookupError: nemo_rl.utils.logger has no Logger.log_metrics"),
            ("class Logger: log_metrics = print", "AttributeError: 'Logger' object has no attribute 'loggers'"),
        ],
    )
    def test_another_logger(self, tmp_path: Path, logger: str, said: str) -> None:
        ended = run_script(self.package(tmp_path, logger), RLTUNE_HOOK_METRICS=str(tmp_path / "hook.jsonl"))
        assert (ended.returncode, ended.stdout) == (0, "ran\n")
        assert ended.stderr.splitlines() == [
            f"rltune hook: not attached, so metrics come from event files alone: {said}"
        ]

    def test_another_timer_leaves_the_metrics(self, tmp_path: Path) -> None:
        logger = "class Logger:\n    loggers = []\n    def log_metrics(self): pass\n"
        files = {"RLTUNE_HOOK_METRICS": str(tmp_path / "hook.jsonl"), "RLTUNE_HOOK_STOP": str(tmp_path / "stop")}
        ended = run_script(self.package(tmp_path, logger, timer=""), **files)
        assert "the run cannot be paused: LookupError: nemo_rl.utils.timer has no TimeoutChecker" in ended.stderr
        assert rows(tmp_path / "hook.jsonl") == [{"hook": "metrics"}]


class TestChannel:
    """Which of the two sources says what, and when."""

    @pytest.fixture
    def log(self, tmp_path: Path) -> Path:
        return tmp_path / "stdout.log"

    def write(self, folder: Path, step: int, **scalars: float) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        writer = EventFileWriter(str(folder / "logs" / "exp_001" / "tensorboard"))
        values = [Summary.Value(tag=tag.replace("__", "/"), simple_value=value) for tag, value in scalars.items()]
        writer.add_event(Event(wall_time=1.0, step=step, summary=Summary(value=values)))
        writer.close()

    def test_event_files_alone_without_monitors(self, tmp_path: Path, log: Path) -> None:
        channel = Channel(tmp_path)
        reader = channel.open(tmp_path, log)
        self.write(tmp_path, 1, train__loss=0.5)
        self.write(tmp_path, 900, ray__node=1.0)
        assert reader.read(last=True) == [Measurement(1, {"train/loss": 0.5})]
        assert FALLBACK in channel.note()

    def test_nothing_is_told_twice_and_the_hook_wins(self, tmp_path: Path, log: Path) -> None:
        channel = Channel(tmp_path)
        reader = channel.open(tmp_path, log)
        self.write(tmp_path, 1, train__lr=5.1234567e-07, other__tag=2.0)
        hook.append(channel.metrics, {"step": 1, "train/lr": 5.1234567e-07})
        assert reader.read(last=True) == [
            Measurement(1, {"train/lr": 5.1234567e-07}),
            Measurement(1, {"other/tag": 2.0}),
        ]
        assert channel.note() == ""

    def test_where_the_hook_breaks_off_event_files_go_on(self, tmp_path: Path, log: Path) -> None:
        channel = Channel(tmp_path)
        reader = channel.open(tmp_path, log)
        hook.append(channel.metrics, {"step": 1, "train/loss": 0.1})
        for step in (1, 2):
            self.write(tmp_path, step, train__loss=0.5)
        assert [(m.step, m.metrics) for m in reader.read(last=True)] == [
            (1, {"train/loss": 0.1}),
            (2, {"train/loss": 0.5}),
        ]

    def test_a_step_is_one_measurement_once_it_is_over(self, tmp_path: Path, log: Path) -> None:
        channel = Channel(tmp_path)
        reader = channel.open(tmp_path, log)
        hook.append(channel.metrics, {"step": 1, "train/loss": 0.1})
        assert reader.read() == []
        hook.append(channel.metrics, {"step": 1, "performance/samples_per_sec": 3.0})
        hook.append(channel.metrics, {"step": 1, "timing/train/total_step_time": 2.0})
        (measurement,) = reader.read()
        assert sorted(measurement.metrics) == [
            "performance/samples_per_sec",
            "timing/train/total_step_time",
            "train/loss",
        ]
        assert reader.read(last=True) == []

    def test_a_validation_does_not_wait_for_its_step(self, tmp_path: Path, log: Path) -> None:
        channel = Channel(tmp_path)
        reader = channel.open(tmp_path, log)
        hook.append(channel.metrics, {"step": 2, "train/reward": 0.1})
        hook.append(channel.metrics, {"step": 2, "validation/accuracy": 0.5})
        assert reader.read() == [Measurement(2, {"train/reward": 0.1, "validation/accuracy": 0.5})]

    def test_a_cut_line_and_an_alien_one(self, tmp_path: Path, log: Path) -> None:
        channel = Channel(tmp_path)
        reader = channel.open(tmp_path, log)
        channel.metrics.write_text('no JSON\n{"hook": "metrics"}\n{"step": 1, "train/loss": 0.5}\n{"step": 2, "tra')
        assert reader.read(last=True) == [Measurement(1, {"train/loss": 0.5})]
        assert reader.skipped.count == 2

    def test_a_pause_only_where_the_hook_has_attached_one(self, tmp_path: Path, log: Path) -> None:
        channel = Channel(tmp_path)
        reader = channel.open(tmp_path, log)
        assert not channel.can_pause
        hook.append(channel.metrics, {"hook": "pause"})
        assert reader.read() == []
        assert channel.can_pause


@pytest.mark.slow
class TestRunning:
    def test_metrics_are_exact_and_told_once(self, make: Any, suggestion: Suggestion) -> None:
        rate = 5.1234567e-07
        warm = {"policy.optimizer.kwargs.lr": rate, "policy.scheduler.0.kwargs.total_iters": 0}
        trainer = make(overrides={**warm, "policy.scheduler.2.milestones": [0], "grpo.val_period": 2})
        outcome, seen = run(trainer, suggestion)
        assert outcome == Outcome()
        assert [(m.step, m.metrics["train/lr"]) for m in seen if "train/lr" in m.metrics] == [
            (step, rate) for step in (1, 2, 3, 4)
        ]
        assert [m.step for m in seen if "validation/accuracy" in m.metrics] == [2, 4]
        assert not any(tag.startswith("ray/") for m in seen for tag in m.metrics)
        assert FALLBACK not in log_of(suggestion)

    def test_nan(self, make: Any, suggestion: Suggestion) -> None:
        _, seen = run(make(stand_in="nan:3"), suggestion)
        losses = {m.step: m.metrics["train/loss"] for m in seen if "train/loss" in m.metrics}
        assert [math.isnan(losses[step]) for step in (1, 2, 3, 4)] == [False, False, True, True]

    def test_a_step_is_told_while_the_run_goes_on(self, make: Any, suggestion: Suggestion) -> None:
        """It hangs in its second step, so only what is told live is told at all."""

        def stop(measurement: Measurement) -> None:
            if "train/loss" in measurement.metrics:
                raise TrialStopped

        outcome, seen = run(make(stand_in="hang:2"), suggestion, stop)
        assert (outcome.stopped, seen[-1].step) == (True, 1)

    def test_a_trainer_without_the_logger(self, make: Any, suggestion: Suggestion, stand_in_root: Path) -> None:
        for file in [stand_in_root / "nemo_rl/utils/logger.py", *stand_in_root.glob("nemo_rl/**/*.py")]:
            text = file.read_text()
            file.write_text(
                text.replace("class Logger(", "class OtherLogger(").replace(
                    "import Logger", "import OtherLogger as Logger"
                )
            )
        outcome, seen = run(make(), suggestion)
        assert outcome == Outcome()
        assert sorted({m.step for m in seen if "train/loss" in m.metrics}) == [1, 2, 3, 4]
        log = log_of(suggestion)
        assert "metrics come from event files alone: LookupError: nemo_rl.utils.logger has no Logger.log_metrics" in log
        assert f"rltune: {FALLBACK}" in log

    def test_a_failure_of_the_hooks_own_does_not_hurt(self, make: Any, suggestion: Suggestion) -> None:
        nowhere = {"RLTUNE_HOOK_METRICS": str(suggestion.directory / "no folder" / "hook.jsonl")}
        outcome, seen = run(make(env=nowhere), suggestion)
        assert outcome == Outcome()
        assert sorted({m.step for m in seen if "train/loss" in m.metrics}) == [1, 2, 3, 4]
        assert log_of(suggestion).count("metrics come from event files alone: FileNotFoundError") == 1

    def test_off(self, make: Any, suggestion: Suggestion) -> None:
        outcome, seen = run(make(hook="off"), suggestion)
        assert outcome == Outcome()
        assert sorted({m.step for m in seen if "train/loss" in m.metrics}) == [1, 2, 3, 4]
        assert not (suggestion.directory / "hook.jsonl").exists()
        assert FALLBACK not in log_of(suggestion)


@pytest.mark.slow
class TestPause:
    @pytest.fixture
    def trial(self, suggestion: Suggestion) -> TrialDir:
        return TrialDir(suggestion.directory)

    def at(self, step: int, act: Callable[[], object]) -> Callable[[Measurement], None]:
        """Acts at each measurement of a step that is over."""

        def report(measurement: Measurement) -> None:
            if measurement.step >= step and "train/loss" in measurement.metrics:
                act()

        return report

    def test_it_saves_the_step_that_it_ends_with_and_tells_of_it(
        self, make: Any, suggestion: Suggestion, trial: TrialDir
    ) -> None:
        trainer = make(stand_in="slow_step:0.2", overrides=SAVING, horizon=500, keep_checkpoints="none")
        outcome, seen = run(trainer, suggestion, self.at(2, trial.pause_request.touch))
        trained = max(row["step"] for row in rows(suggestion.directory / "hook.jsonl") if "train/loss" in row)
        assert 2 < trained < 500
        saved = isolation.steps_in(trial.checkpoints)
        assert list(saved) == [trained]
        assert [(m.step, m.checkpoint) for m in seen if m.checkpoint] == [(trained, str(saved[trained]))]
        assert outcome.cause is Cause.INTERRUPTED
        said = f"paused after step {trained}; its newest checkpoint is of step {trained}"
        assert said in outcome.message
        assert f"rltune: {said}" in log_of(suggestion)

    def test_one_that_the_tuner_stops_is_ended_at_once(
        self, make: Any, suggestion: Suggestion, trial: TrialDir
    ) -> None:
        def stop() -> None:
            assert trial.pausable.exists()
            raise TrialStopped

        outcome, _ = run(make(stand_in="hang:3", overrides=SAVING, horizon=500), suggestion, self.at(2, stop))
        assert (outcome.stopped, outcome.cause) == (True, None)
        assert not isolation.steps_in(trial.checkpoints)

    def test_at_its_last_step_it_is_complete(self, make: Any, suggestion: Suggestion, trial: TrialDir) -> None:
        trainer = make(stand_in="slow_step:0.2", overrides=SAVING, horizon=2)
        outcome, seen = run(trainer, suggestion, self.at(1, trial.pause_request.touch))
        assert outcome == Outcome()
        assert seen[-1].step == 2

    def test_an_end_before_its_time_is_none(self, make: Any, suggestion: Suggestion, trial: TrialDir) -> None:
        """It was asked to pause, and exits with 0 without having heard of it."""
        trainer = make(stand_in="exit_early:3", overrides=SAVING, horizon=6, hook="off")
        outcome, _ = run(trainer, suggestion, self.at(1, trial.pause_request.touch))
        assert outcome.cause is Cause.ERROR
        assert "it exited with 0, but ended after 3 of 6 steps" in outcome.message

    @pytest.mark.parametrize(
        ("options", "offered"),
        [
            ({}, True),
            ({"hook": "off"}, False),
            ({"overrides": {"checkpointing.enabled": False}}, False),
        ],
    )
    def test_it_offers_to_pause_from_its_first_step_on(
        self, make: Any, suggestion: Suggestion, trial: TrialDir, options: dict[str, Any], offered: bool
    ) -> None:
        seen: list[tuple[bool, bool]] = []

        def look(measurement: Measurement) -> None:
            seen.append((measurement.step > 0 and "train/loss" in measurement.metrics, trial.pausable.exists()))

        trainer = make(**{"overrides": SAVING | {"grpo.val_at_start": True}} | options)
        assert run(trainer, suggestion, look)[0] == Outcome()
        assert any(over for over, _ in seen)
        assert all(there == offered for over, there in seen if over)
        assert not seen[0][1]
        assert not trial.pausable.exists()
