"""A study of NeMo RL that is stopped in the middle of a trial goes on from the trial's own checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rltune import config as cfg
from rltune import session
from rltune.folder import StudyDir, TrialDir
from rltune.trainers.nemo_rl.isolation import steps_in
from rltune.types import Cause

pytestmark = pytest.mark.slow


def test_what_was_trained_is_not_trained_again(nemo_study: Callable[..., Path], tmp_path: Path) -> None:
    overrides = {"checkpointing.enabled": True, "checkpointing.save_period": 4, "grpo.val_period": 4}
    own = {"overrides": overrides, "warm_up": False, "env": {"STAND_IN_STEP_SECONDS": "0.1"}}
    file = nemo_study(horizon=20, nemo_rl=own, n_trials=1, protocol="simple")
    out, trial = tmp_path / "s", StudyDir(tmp_path / "s").trial(0)

    def enough() -> bool:
        return (trial.checkpoints / "step_8").is_dir() and len(trial.read_metrics()) > 12

    session.run(cfg.load(file), out=out, should_stop=enough)
    result = session.run(cfg.load(file), out=out)
    first, second = result.records
    assert first.cause is Cause.INTERRUPTED
    assert second.retry_of == 0
    assert second.cause is None, second.message
    assert (second.seed, second.params) == (first.seed, first.params)
    steps = [m.step for m in StudyDir(out).trial(1).read_metrics() if "train/loss" in m.metrics]
    assert sorted(set(steps)) == list(range(1, 21))
    took = [line for line in StudyDir(out).trial(1).log.read_text().splitlines() if "===== Step " in line]
    assert len(took) < 20 - 3  # those before the checkpoint were taken by the first
    assert sorted(second.curve) == [4, 8, 12, 16, 20]


# --- what stays on the disk ------------------------------------------------------------------------------------------

OVERRIDES = {
    "checkpointing.enabled": True,
    "checkpointing.save_period": 4,
    "checkpointing.keep_top_k": 10,
    "grpo.val_period": 4,
}


def rollouts(trial: TrialDir) -> list[str]:
    return [file.name for file in trial.path.rglob("train_data_step*.jsonl")]


@pytest.fixture
def stopped(nemo_study: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """A study whose only trial was stopped after its checkpoint of step 8; gives its file."""

    def stop(**own: Any) -> Path:
        trainer = {"overrides": OVERRIDES, "warm_up": False, "env": {"STAND_IN_STEP_SECONDS": "0.05"}, **own}
        file = nemo_study(horizon=16, nemo_rl=trainer, n_trials=1, protocol="simple")
        trial = StudyDir(tmp_path / "s").trial(0)
        session.run(cfg.load(file), out=tmp_path / "s", should_stop=lambda: told_of(trial, 8))
        return file

    return stop


def told_of(trial: TrialDir, step: int) -> bool:
    return any(m.checkpoint is not None and m.step >= step for m in trial.read_metrics())


def test_what_was_kept_to_go_on_from_is_removed_once_that_has_ended(stopped: Any, tmp_path: Path) -> None:
    file, folder = stopped(), StudyDir(tmp_path / "s")
    left = steps_in(folder.trial(0).checkpoints)
    assert {4, 8} <= left.keys()
    assert not rollouts(folder.trial(0))
    foreign = folder.trial(0).path.parent / "0009" / "checkpoints" / "step_3"  # of no trial of this study
    foreign.mkdir(parents=True)
    session.run(cfg.load(file), out=folder.path, should_stop=lambda: told_of(folder.trial(1), 12))
    assert steps_in(folder.trial(0).checkpoints) == left  # the second was stopped as well
    third = session.run(cfg.load(file), out=folder.path).records[2]
    assert third.cause is None, third.message
    assert not steps_in(folder.trial(0).checkpoints)
    assert not steps_in(folder.trial(1).checkpoints)
    assert [len(steps_in(folder.trial(2).checkpoints)), rollouts(folder.trial(2))] == [1, []]
    assert foreign.is_dir()
    assert "rltune: removed" in folder.trial(0).log.read_text()


def test_the_best_of_the_whole_run_is_kept_also_from_before_it_was_cut_short(stopped: Any, tmp_path: Path) -> None:
    file, folder = stopped(), StudyDir(tmp_path / "s")
    best = folder.trial(0).checkpoints / "step_4" / "training_info.json"
    best.write_text(json.dumps(json.loads(best.read_text()) | {"val:accuracy": 0.99}))
    assert session.run(cfg.load(file), out=folder.path).records[1].cause is None
    assert list(steps_in(folder.trial(1).checkpoints)) == [4]
    assert not steps_in(folder.trial(0).checkpoints)


@pytest.mark.parametrize("keep", ["all", "none"])
def test_as_the_study_file_says(stopped: Any, tmp_path: Path, keep: str) -> None:
    file, folder = stopped(keep_checkpoints=keep), StudyDir(tmp_path / "s")
    assert {4, 8} <= steps_in(folder.trial(0).checkpoints).keys()
    session.run(cfg.load(file), out=folder.path)
    for trial in (folder.trial(0), folder.trial(1)):
        assert bool(steps_in(trial.checkpoints)) == bool(rollouts(trial)) == (keep == "all")


def test_a_tuner_that_died_before_it_had_tidied_does_so_later(stopped: Any, tmp_path: Path) -> None:
    file, folder = stopped(), StudyDir(tmp_path / "s")
    session.run(cfg.load(file), out=folder.path)
    (folder.trial(0).checkpoints / "step_8").mkdir(parents=True)
    session.run(cfg.load(file), out=folder.path)
    assert not steps_in(folder.trial(0).checkpoints)
