"""What the command line says as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rltune import config as cfg
from rltune.analysis.pareto import Pareto
from rltune.cli.views.curves import Curves
from rltune.cli.views.pace import Outlook
from rltune.cli.views.snapshot import Snapshot
from rltune.cli.views.status import Sight
from rltune.config.build import command_line_in
from rltune.errors import RltuneError
from rltune.records import TrialRecord, schedule
from rltune.reporting.files import schedule_rows, verdict_json
from rltune.session import Result
from rltune.space import SearchSpace


def result_json(result: Result, exit_code: int) -> dict[str, Any]:
    """The end of a session."""
    folder, snapshot = result.folder, Snapshot.of(result)
    return {
        "name": result.config.name,
        "folder": str(folder.path),
        "exit_code": int(exit_code),
        "stopped": result.stopped,
        "halted": result.halted,
        **_state(snapshot, Outlook.of(snapshot, Curves(folder, snapshot.objective.metric))),
        "best": None if result.best is None else trial_json(result, result.best),
        "verdict": _verdict(result),
        "files": {
            file.stem: str(file)
            for file in (folder.best_config, folder.best_schedule, folder.best_overrides, folder.trials_csv)
            if file.exists()
        },
    }


def snapshot_json(sight: Sight) -> dict[str, Any]:
    """A study as it stands; `running_in` is the process that runs it."""
    snapshot, outlook, holder = sight
    best = snapshot.best
    running = []
    for record in snapshot.running:
        curve = outlook.curves[record.number]
        row = {"number": record.number, "purpose": record.purpose.value, "seconds": record.seconds}
        value = curve.values[-1] if curve.values and math.isfinite(curve.values[-1]) else None
        row |= {"step": curve.step, "value": value, "remaining_seconds": outlook.left.get(record.number)}
        running.append(row | {"silent_seconds": outlook.silent.get(record.number)})
    return {
        "name": snapshot.name,
        "folder": str(snapshot.folder.path),
        "running_in": None if holder is None else dict(holder),
        **_state(snapshot, outlook),
        "running": running,
        "best": None if best is None else best.to_json(),
    }


def best_json(result: Result, runs: Sequence[TrialRecord], shown: TrialRecord | None) -> dict[str, Any]:
    """The trial to ship, or the one that was picked; the verdict, and the best single runs."""
    return {
        "best": None if shown is None else trial_json(result, shown),
        "verdict": _verdict(result),
        "top": [record.to_json() for record in runs],
    }


def front_json(found: Pareto) -> dict[str, Any]:
    """The Pareto front and what is known about it."""
    return {
        "front": [record.to_json() for record in found.front],
        "least_violating": [record.to_json() for record in found.least_violating],
        "ranks": {str(number): rank for number, rank in found.ranks.items()},
        "knee": None if found.knee is None else found.knee.number,
        "hypervolume": found.hypervolume,
        "hypervolume_by_trial": {str(number): volume for number, volume in found.progress.items()},
        "reference": None if found.reference is None else dict(found.reference),
    }


def _verdict(result: Result) -> dict[str, Any] | None:
    return None if result.verdict is None else verdict_json(result.verdict, result.objectives[0])


def _state(snapshot: Snapshot, outlook: Outlook) -> dict[str, Any]:
    best = snapshot.bests[0] if snapshot.bests else None
    budget = snapshot.budget
    return {
        "objectives": [{"metric": o.metric, "direction": o.direction} for o in snapshot.objectives],
        "phase": snapshot.phase or None,
        "phases": {p.purpose.value: {"done": p.done, "planned": p.planned} for p in snapshot.phases},
        "trials": {"done": snapshot.n_done, "planned": snapshot.n_planned, **snapshot.counts},
        "earlier": len(snapshot.earlier),
        "failures": snapshot.failures,
        "seconds": snapshot.elapsed_seconds,
        "timeout_seconds": snapshot.timeout_seconds,
        "remaining_seconds": outlook.study,
        "budget": budget and {"unit": budget.unit, "amount": budget.amount, "spent": budget.spent(snapshot.records)},
        "noise_sd": best and best.sd,
    }


def override_texts(result: Result, record: TrialRecord) -> tuple[str, ...]:
    """A trial's parameters as its training script takes them, as far as the study folder tells."""
    return tuple(command_line_in(result.config, resolved(result, record)))


def trial_json(result: Result, record: TrialRecord) -> dict[str, Any]:
    """A trial with what its trainer was given."""
    given = resolved(result, record)
    texts = {"resolved": given, "overrides": list(override_texts(result, record))}
    segments = schedule(result.records, record)
    return record.to_json() | texts | ({"schedule": schedule_rows(segments)} if len(segments) > 1 else {})


def resolved(result: Result, record: TrialRecord) -> dict[str, Any]:
    """A trial's parameters and what follows from them, as far as the study folder tells: see `unknown_derived`."""
    config = result.config
    try:
        return _without_base(config).resolve(record.params)
    except RltuneError:
        return dict(record.params)


def _without_base(config: cfg.StudyConfig) -> SearchSpace:
    return SearchSpace.from_mapping(config.search_space, derived=config.derived, constants=config.constants({}))


def unknown_derived(result: Result, given: Mapping[str, Any]) -> list[str]:
    """Derived values that are not in `given`, because they follow from the trainer's own config, which is elsewhere."""
    config = result.config
    try:
        _without_base(config)
    except RltuneError:
        return [str(name) for name in config.derived if name not in given]
    return []
