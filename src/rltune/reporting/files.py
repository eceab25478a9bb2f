"""What a session leaves in the study folder: trials.csv, best_config.yaml, best_overrides.txt, verdict.json.

And the ledger of its trials, which is written on request.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rltune.analysis.selection import Runs
from rltune.folder import StudyDir, write_atomic, write_json
from rltune.objective import Objective
from rltune.protocol.decision import Verdict
from rltune.records import Segment, TrialRecord, own, schedule
from rltune.space import SearchSpace
from rltune.trainers.config_text import overrides, yaml_text
from rltune.types import Cause

LEDGER = (
    "index",
    "branch",
    "parent_commit",
    "commit",
    "recipe",
    "metric_name",
    "metric_value",
    "memory_gb",
    "elapsed_min",
    "launcher",
    "job_id",
    "command",
    "log_path",
    "status",
    "description",
)
"""The columns of the ledger that NeMo RL's auto-research workflow keeps, in its order."""


_LAST_OF_SCHEDULE = """\
# The last part of a schedule: trial {} was not trained with these values from the start.
# {} has the values of every step.
"""

_CRASHES = (
    Cause.ERROR,
    Cause.OUT_OF_MEMORY,
    Cause.TIMEOUT,
    Cause.STALLED,
    Cause.LOST,
    Cause.IGNORED_KEY,
)
"""What the ledger calls a crash: the run broke down, or ran past its time."""


def write_results(
    folder: StudyDir,
    space: SearchSpace,
    objectives: Sequence[Objective],
    *,
    records: Sequence[TrialRecord],
    best: TrialRecord | None,
    verdict: Verdict | None,
    to_config: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    to_overrides: Callable[[Mapping[str, Any]], Sequence[str]] = overrides,
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
        to_overrides: The same as the words of its command line.
    """
    write_atomic(folder.trials_csv, trials_csv(records, list(space.parameters), objectives))
    if best is None:
        folder.best_config.unlink(missing_ok=True)
        folder.best_overrides.unlink(missing_ok=True)
        folder.best_schedule.unlink(missing_ok=True)
    else:
        resolved = space.resolve(best.params)
        segments = schedule(records, best)
        head = _LAST_OF_SCHEDULE.format(best.number, folder.best_schedule.name) if len(segments) > 1 else ""
        write_atomic(folder.best_config, head + yaml_text(to_config(resolved)))
        if head:
            rows = schedule_rows(segments, space.resolve)
            write_atomic(folder.best_schedule, yaml_text({"trial": best.number, "schedule": rows}))
        else:
            folder.best_schedule.unlink(missing_ok=True)
        write_atomic(folder.best_overrides, "".join(f"{line}\n" for line in to_overrides(resolved)))
    if verdict is not None:
        write_json(folder.verdict, verdict_json(verdict, objectives[0]))


def schedule_rows(
    segments: Sequence[Segment], resolve: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
) -> list[dict[str, Any]]:
    """Each segment's steps, first and last included, and parameters; `last_step` is None where nobody knows it."""
    return [
        {
            "trial": segment.record.number,
            "first_step": segment.begin + 1,
            "last_step": segment.end,
            "seed": segment.record.seed,
            "params": dict(resolve(segment.record.params)),
        }
        for segment in segments
    ]


def trials_csv(records: Sequence[TrialRecord], parameters: Sequence[str], objectives: Sequence[Objective]) -> str:
    """One row a trial, by number; an inactive parameter and a missing value are empty."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(trials_table(records, parameters, objectives))
    return text.getvalue()


def trials_table(
    records: Sequence[TrialRecord], parameters: Sequence[str], objectives: Sequence[Objective]
) -> Iterator[list[Any]]:
    """The names of the columns, then one row a trial, by number; None for an inactive parameter and a missing value."""
    facts = ["number", "purpose", "state", "cause", "stopped_by", "feasible", "seed", "seconds", "retry_of"]
    facts += ["parent", "parent_step"]
    metrics = sorted({name for r in records for name in r.metrics} - {o.metric for o in objectives})
    yield [*facts, *(o.metric for o in objectives), *parameters, *metrics]
    for record in records:
        row = record.to_json()
        yield [
            *(row[fact] for fact in facts),
            *(record.values or [None] * len(objectives)),
            *(record.params.get(name) for name in parameters),
            *(record.metrics.get(name) for name in metrics),
        ]


def ledger_tsv(
    records: Sequence[TrialRecord], objective: Objective, folder: StudyDir, *, recipe: str = "", launcher: str = ""
) -> str:
    """Every trial that has ended, a row each, in the columns `LEDGER`, which are separated by tabs.

    A trial is kept where it is feasible and better than all before it, crashed where its run broke down, and else
    discarded: also where a guard or its own value spoke against a run that worked. Columns about Git and about a
    scheduler's job are empty: trials differ in values, not in code.

    Args:
        records: Every trial of the study.
        objective: The first.
        folder: Where their commands and logs are.
        recipe: What is tuned.
        launcher: What starts them.
    """
    lines = ["\t".join(LEDGER)]
    best: float | None = None
    for record in own(records):
        if not record.state.is_finished() or record.cause is Cause.INTERRUPTED:
            continue
        keep = record.feasible and record.value is not None and (best is None or objective.better(record.value, best))
        best = record.value if keep else best
        status = "keep" if keep else "crash" if record.cause in _CRASHES else "discard"
        row = {
            "recipe": recipe,
            "metric_name": objective.metric,
            "launcher": launcher,
            "status": status,
            **dict(_ledger_facts(record, folder)),
        }
        lines.append("\t".join(re.sub(r"\s+", " ", row.get(column, "")).strip() for column in LEDGER))
    return "".join(f"{line}\n" for line in lines)


def _ledger_facts(record: TrialRecord, folder: StudyDir) -> Iterator[tuple[str, str]]:
    """What a trial tells about itself, by column."""
    trial = folder.trial(record.number)
    yield "index", str(record.number)
    if record.value is not None and math.isfinite(record.value):
        yield "metric_value", repr(record.value)
    memory = record.metrics.get("gpu_memory_usage", record.metrics.get("memory_usage"))
    if memory is not None and math.isfinite(memory):
        yield "memory_gb", f"{memory / 1e9:.2f}"
    if record.seconds is not None:
        yield "elapsed_min", f"{record.seconds / 60:.1f}"
    if trial.command.is_file():
        yield "command", trial.command.read_text(encoding="utf-8")
    if trial.log.is_file():
        yield "log_path", str(trial.log)
    why = record.cause.value if record.cause else record.stopped_by or ""
    yield (
        "description",
        "; ".join(part for part in (record.purpose.value, why, " ".join(overrides(record.params))) if part),
    )


def verdict_json(verdict: Verdict, objective: Objective) -> dict[str, Any]:
    """Every number of the verdict, as it is printed."""
    return {
        "metric": objective.metric,
        "direction": objective.direction,
        "ship": verdict.ship,
        "seeds": verdict.seeds,
        "gain": _number(verdict.gain),
        "interval": [_number(verdict.low), _number(verdict.high)],
        "standard_error": _number(verdict.standard_error),
        "p_better": _number(verdict.p_better),
        "detectable_gain": _number(verdict.detectable),
        "winner": _runs(verdict.winner),
        "default": _runs(verdict.default),
    }


def _runs(runs: Runs | None) -> dict[str, Any] | None:
    if runs is None:
        return None
    return {
        "params": dict(runs.params),
        "mean": _number(runs.mean),
        "sd": _number(runs.sd),
        "values": list(runs.values),
        "failed": runs.failed,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
