"""A warm start: the trials of an earlier study that this one knows before its first."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from rltune import records as rec
from rltune.config.load import load
from rltune.config.schema import StudyConfig
from rltune.errors import InputError, Problem
from rltune.folder import StudyDir
from rltune.objective import Constraint, Objective
from rltune.records import TrialRecord
from rltune.space import SearchSpace
from rltune.storage import open_study


@dataclass(frozen=True)
class Earlier:
    """What a study knows from an earlier one before its first trial.

    Attributes:
        folder: The earlier study's, as the study file names it.
        trials: Those that lie in this study's search space, with this study's constraints.
        skipped: How many others there are, by the reason.
    """

    folder: str
    trials: tuple[TrialRecord, ...]
    skipped: Mapping[str, int]

    def __str__(self) -> str:
        known = f"{len(self.trials)} of {len(self.trials) + sum(self.skipped.values())} trials of {self.folder}"
        why = ", ".join(f"{n} {reason}" for reason, n in self.skipped.items())
        return f"warm start: {known} are known from the start" + (f"; left out: {why}" if why else "")

    def to_json(self) -> dict[str, Any]:
        return {"folder": self.folder, "trials": len(self.trials), "skipped": dict(self.skipped)}


def earlier_of(config: StudyConfig, base: Path, folder: StudyDir, space: SearchSpace) -> Earlier | None:
    """What to take from the study in the folder that `warm_start` names.

    None too where that folder is gone and this study has begun: it keeps what it was given.

    Raises:
        InputError: There is no study, or one of other objectives.
        FolderError: Its storage cannot be read.
    """
    if config.warm_start is None:
        return None
    old = StudyDir(base / config.warm_start)
    if not old.study_file.exists():
        if folder.study_file.exists():
            return None
        hint = "give the folder of an earlier study, relative to the study file, as in runs/my-study"
        raise InputError([Problem((), f"there is no study in {old.path}", hint)])
    if old.path.resolve() == folder.path.resolve():
        message = f"{old.path} is this study's own folder"
        raise InputError([Problem((), message, "give the study another `name`, or its folder with `--out`")])
    before, objectives = load(old.study_file), config.evaluation.objectives()
    if before.evaluation.objectives() != objectives:
        message = f"{old.path} is about {_in_words(before.evaluation.objectives())}, this study {_in_words(objectives)}"
        hint = "values of other objectives cannot be compared: leave `warm_start` out, or make them alike"
        raise InputError([Problem((), message, hint)])
    study = open_study(before.storage, old, before.name, [o.direction for o in objectives], create=False)
    taken: list[TrialRecord] = []
    skipped: Counter[str] = Counter()
    for record in rec.effective(rec.load(study)):
        if why := why_left_out(record, space):
            skipped[why] += 1
        else:
            taken.append(_as_if_here(record, space, config.evaluation.ranges()))
    return Earlier(config.warm_start, tuple(taken), skipped)


def _in_words(objectives: Iterable[Objective]) -> str:
    return " and ".join(f"`{o.metric}` ({o.direction})" for o in objectives)


def why_left_out(record: TrialRecord, space: SearchSpace) -> str:
    """Why a trial of another study says nothing about this space; empty where it does."""
    if record.state not in (TrialState.COMPLETE, TrialState.PRUNED):
        return "failed" if record.state is TrialState.FAIL else "not finished"
    if set(record.params) != set(space.active(record.params)):
        return "with other parameters"
    return "" if space.is_feasible(record.params) else "outside the search space"


def _as_if_here(record: TrialRecord, space: SearchSpace, ranges: Iterable[Constraint]) -> TrialRecord:
    """With this space's types, and judged by this study's constraints; a metric that is not there counts as missed."""
    missed = {
        c.metric: c.violation(record.metrics[c.metric]) if c.metric in record.metrics else math.inf for c in ranges
    }
    params = {name: space.parameters[name].cast(value) for name, value in record.params.items()}
    return replace(record, params=params, violations=missed if record.state is TrialState.COMPLETE else {})
