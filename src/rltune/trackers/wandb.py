"""Weights & Biases: a run for each trial, all in one group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from rltune.records import TrialRecord
from rltune.trackers.tracked import TrackedStudy
from rltune.types import Measurement


class WandbTracker:
    """Logs by W&B's own client.

    Args:
        study: The study.
        project: The project's name; the study's where it is not given.
        entity: The user or team; W&B's default where it is not given.
        mode: `online`, or `offline`, which writes to the study's folder for `wandb sync`; where it is not given, what
            the variable WANDB_MODE says.
    """

    def __init__(
        self,
        study: TrackedStudy,
        *,
        project: str | None = None,
        entity: str | None = None,
        mode: Literal["online", "offline"] | None = None,
    ) -> None:
        self._study, self._project, self._entity = study, project or study.name, entity
        self._mode = mode
        self._runs: dict[int, Any] = {}

    def begin(self, trial: TrialRecord) -> None:
        import wandb

        study = self._study
        self._runs[trial.number] = run = wandb.init(
            project=self._project,
            entity=self._entity,
            dir=study.folder,
            id=f"{study.id}-{trial.number}",
            name=f"{study.name}/{trial.number:04d}",
            group=study.id,
            job_type=trial.purpose.value,
            config=dict(trial.params),
            resume="allow",
            reinit="create_new",
            mode=self._mode,
            settings=wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True),
        )
        run.summary.update({"rltune/seed": trial.seed, "rltune/trial": trial.number})

    def measure(self, trial: TrialRecord, measurements: Sequence[Measurement]) -> None:
        for each in measurements:
            self._runs[trial.number].log(dict(each.metrics), step=each.step)

    def end(self, trial: TrialRecord) -> None:
        run = self._runs.pop(trial.number)
        about = {
            "state": trial.state.name.lower(),
            "cause": trial.cause and trial.cause.value,
            "message": trial.message[:5000],
            "stopped_by": trial.stopped_by,
        }
        run.summary.update({f"rltune/{name}": value for name, value in about.items() if value})
        run.finish(exit_code=0 if trial.cause is None else 1)

    def close(self) -> None:
        for run in self._runs.values():
            run.finish()
