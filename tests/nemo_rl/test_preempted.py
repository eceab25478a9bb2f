"""A study of NeMo RL that is stopped in the middle of a trial goes on from the trial's own checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rltune import config as cfg
from rltune import session
from rltune.folder import StudyDir
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
