"""What a session leaves in the study folder: trials.csv, best_config.yaml, best_overrides.txt, verdict.json."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rltune.analysis.selection import Arm, Verdict
from rltune.folder import StudyDir, write_atomic, write_json
from rltune.objective import Objective
from rltune.records import TrialRecord
from rltune.space import SearchSpace
from rltune.trainers.config_text import overrides, yaml_text


def write_results(
    folder: StudyDir,
    space: SearchSpace,
    objectives: Sequence[Objective],
    *,
    records: Sequence[TrialRecord],
    best: TrialRecord | None,
    verdict: Verdict | None,
    to_config: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> None:
    """Writes each file whole; what is no longer true is removed.

    Args:
        folder: Where to.
        space: What varied.
        objectives: The first is the verdict's.
        records: Every trial.
        best: The trial to ship.
        verdict: Why it is shipped.
        to_config: What the trainer is given for a configuration, its base config included.
    """
    write_atomic(folder.trials_csv, trials_csv(records, list(space.parameters), objectives))
    if best is None:
        folder.best_config.unlink(missing_ok=True)
        folder.best_overrides.unlink(missing_ok=True)
    else:
        resolved = space.resolve(best.params)
        write_atomic(folder.best_config, yaml_text(to_config(resolved)))
        write_atomic(folder.best_overrides, "".join(f"{line}\n" for line in overrides(resolved)))
    if verdict is not None:
        write_json(folder.verdict, verdict_json(verdict, objectives[0]))


def trials_csv(records: Sequence[TrialRecord], parameters: Sequence[str], objectives: Sequence[Objective]) -> str:
    """One row a trial, by number; an inactive parameter and a missing value are empty."""
    text = io.StringIO()
    facts = ["number", "purpose", "state", "cause", "stopped_by", "feasible", "seed", "seconds", "retry_of"]
    metrics = sorted({name for r in records for name in r.metrics} - {o.metric for o in objectives})
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*facts, *(o.metric for o in objectives), *parameters, *metrics])
    for record in records:
        row = record.to_json()
        values = record.values or [None] * len(objectives)
        writer.writerow(
            [row[fact] for fact in facts]
            + list(values)
            + [record.params.get(name) for name in parameters]
            + [record.metrics.get(name) for name in metrics]
        )
    return text.getvalue()


def verdict_json(verdict: Verdict, objective: Objective) -> dict[str, Any]:
    """Every number of the verdict, as it is printed."""
    return {
        "metric": objective.metric,
        "direction": objective.direction,
        "ship": verdict.ship,
        "gain": _number(verdict.gain),
        "standard_error": _number(verdict.standard_error),
        "winner": _arm(verdict.winner),
        "baseline": _arm(verdict.baseline),
    }


def _arm(arm: Arm | None) -> dict[str, Any] | None:
    if arm is None:
        return None
    return {
        "params": dict(arm.params),
        "mean": _number(arm.mean),
        "sd": _number(arm.sd),
        "values": list(arm.values),
        "failed": arm.failed,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
