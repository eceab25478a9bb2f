"""What a session leaves in the study folder: trials.csv, best_config.yaml, best_overrides.txt, verdict.json.

And the ledger of its trials, which is written on request.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from rltune.analysis.selection import Arm, Verdict
from rltune.folder import StudyDir, write_atomic, write_json
from rltune.objective import Objective
from rltune.records import TrialRecord, own
from rltune.space import SearchSpace
from rltune.trainers.config_text import overrides, yaml_text
from rltune.trainers.nemo_rl.grammar import override
from rltune.trainers.nemo_rl.names import expand
from rltune.trainers.nemo_rl.recipe import Algorithm, Backend, Recipe
from rltune.trainers.nemo_rl.resume import steps_key
from rltune.trainers.nemo_rl.trainer import NemoRlTrainer
from rltune.trainers.registry import StudyTrainer
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
    else:
        resolved = space.resolve(best.params)
        write_atomic(folder.best_config, yaml_text(to_config(resolved)))
        write_atomic(folder.best_overrides, "".join(f"{line}\n" for line in to_overrides(resolved)))
    if verdict is not None:
        write_json(folder.verdict, verdict_json(verdict, objectives[0]))


def command_line(trainer: StudyTrainer, params: Mapping[str, Any]) -> tuple[str, ...]:
    """A configuration as the trainer's own script takes it: ``key=value``, a word each.

    Args:
        trainer: What runs.
        params: Active parameters and derived values.

    Raises:
        InputError: A parameter does not fit NeMo RL's recipe.
        TrainerError: A value cannot be written on NeMo RL's command line.
    """
    if isinstance(trainer, NemoRlTrainer):
        return recipe_words(trainer.recipe, trainer.overrides, trainer.horizon, params)
    return overrides(params)


def recipe_words(
    recipe: Recipe, fixed: Mapping[str, Any], horizon: int | None, params: Mapping[str, Any]
) -> tuple[str, ...]:
    """A configuration in keys of a recipe, as NeMo RL's scripts take it beside the recipe's own file.

    Args:
        recipe: With `fixed` set in it.
        fixed: What every trial gets.
        horizon: The steps of a full run; None for the recipe's own.
        params: Active parameters and derived values.

    Raises:
        InputError: A parameter does not fit the recipe.
        TrainerError: A value cannot be written on NeMo RL's command line.
    """
    key = steps_key(recipe)
    length = {} if horizon is None else {key if recipe.has(key) else f"++{key}": horizon}
    settings = {**fixed, **length, **expand(recipe, params)}
    return tuple(override(k.removeprefix("++"), value, new=k.startswith("++")) for k, value in settings.items())


def kept_recipe(path: str, values: Mapping[str, Any]) -> Recipe:
    """A recipe as a study's folder keeps it, resolved: nothing in it follows anything, so each key is set by itself.

    Args:
        path: The file that it was.
        values: Its values, nested.
    """
    policy = values["policy"]
    megatron = bool((policy.get("megatron_cfg") or {}).get("enabled"))
    adapters = policy["megatron_cfg"].get("peft") if megatron else (policy.get("dtensor_cfg") or {}).get("lora_cfg")
    return Recipe(
        path=Path(path),
        root=Path(path).parent,
        algorithm=next(algorithm for algorithm in Algorithm if algorithm in values),
        backend=Backend.MEGATRON if megatron else Backend.DTENSOR,
        lora=bool((adapters or {}).get("enabled")),
        values=values,
        composed=values,
    )


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


def ledger_tsv(
    records: Sequence[TrialRecord], objective: Objective, folder: StudyDir, *, recipe: str = "", launcher: str = ""
) -> str:
    """Every trial that has ended, a row each, in the columns `LEDGER`, which are separated by tabs.

    A trial is kept where it is feasible and better than all before it, crashed where it failed, and else discarded.
    Columns about Git and about a scheduler's job are empty: trials differ in values, not in code.

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
        status = "keep" if keep else "crash" if record.state is TrialState.FAIL else "discard"
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
