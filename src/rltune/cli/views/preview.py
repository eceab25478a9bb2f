"""What a study file would run: a few configurations, what a user should know, and all of it as text or JSON."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rltune import config as cfg
from rltune.analysis.advice import Advice, before
from rltune.cli.views.choices import why
from rltune.cli.views.console import verbatim
from rltune.cli.views.progress import plan_in_words
from rltune.config.build import Parts
from rltune.config.evaluation import CrossValidationConfig
from rltune.config.executor import ExecutorConfig
from rltune.config.named import Named
from rltune.config.nemo_rl_advice import nemo_rl_advice
from rltune.errors import InputError, RltuneError, TrainerError
from rltune.folder import StudyDir
from rltune.guards import Mode, StudyGuard
from rltune.objective import Constraint
from rltune.reporting import wording as w
from rltune.space import NO_DEFAULT, Categorical, Float, Int, NoDefault, Parameter
from rltune.trainers.command import CommandTrainer
from rltune.trainers.function import FunctionTrainer
from rltune.trainers.nemo_rl.trainer import NemoRlTrainer
from rltune.tuner import MEASURED_METRICS
from rltune.types import Scalar, Suggestion

_DRAWS = 5


@dataclass(frozen=True)
class Draw:
    """A configuration that a trial might get.

    Attributes:
        params: What the trainer gets, derived values included.
        command: The words that would run; None for a function.
        config: The whole configuration, with the base config.
    """

    params: dict[str, Any]
    command: tuple[str, ...] | None
    config: dict[str, Any]


@dataclass(frozen=True)
class Preview:
    """A study that has not been run, or not to its end.

    Attributes:
        force: Whether `run` is to go on although the study file has changed what its trials mean.
    """

    parts: Parts
    folder: StudyDir
    draws: Sequence[Draw]
    force: bool = False

    @property
    def warnings(self) -> list[str]:
        """What is probably not meant."""
        return [*_size_warnings(self.parts), *_change_warnings(self)]

    @property
    def advice(self) -> list[Advice]:
        """How the study could be set up better."""
        parts = self.parts
        if isinstance(parts.trainer, NemoRlTrainer):
            return nemo_rl_advice(parts.config, parts.trainer.recipe, parts.space, parts.plan.n_search)
        return before(parts.space, parts.plan.n_search)

    @property
    def notes(self) -> list[str]:
        """What a user should know."""
        evaluation, notes = self.parts.config.evaluation, list(self.parts.notes)
        needed = [o.metric for o in self.parts.plan.objectives if o.metric not in MEASURED_METRICS]
        metrics = " and ".join(f"`{metric}`" for metric in needed) or "anything"
        notes.append(f"whether the trainer reports {metrics} shows when it runs; a trial without it ends as `no_value`")
        if evaluation.early_stopping:
            what = "fold" if evaluation.cross_validation else "trial"
            notes.append(
                f"early_stopping looks at each {what}'s own curve: a {what} ends once its value has not improved for "
                f"{evaluation.patience} measurements (`patience`), and keeps its {evaluation.value} value; to end the "
                "whole search when it no longer finds better configurations, set `study_patience` at the top level"
            )
        if (patience := self.parts.config.study_patience) is not None:
            notes.append(f"study_patience: the search ends once {patience} of its trials in a row are no improvement")
        if self.folder.study_file.exists():
            notes.append(f"{self.folder.path} exists already: `run` goes on with it")
        return notes


def preview(parts: Parts, folder: StudyDir, *, force: bool) -> Preview:
    """Draws configurations from the search space, without its sampler.

    Raises:
        StudyFileError: Nothing can be drawn.
        TrainerError: A configuration cannot be handed to the trainer.
    """
    rng = np.random.default_rng(parts.config.seed)
    try:
        drawn = [parts.space.resolve(parts.space.sample(rng)) for _ in range(_DRAWS)]
    except InputError as error:
        raise parts.config.error(error.problems) from error
    return Preview(parts, folder, [_draw(parts, folder, i, params) for i, params in enumerate(drawn)], force)


def _draw(parts: Parts, folder: StudyDir, number: int, params: dict[str, Any]) -> Draw:
    trainer, evaluation = parts.trainer, parts.config.evaluation
    seed, directory = parts.plan.seeds.search(number), folder.trial(number).path
    suggestion = Suggestion(number, params, seed, directory, parts.config.trainer.horizon)
    if evaluation.cross_validation:
        suggestion = replace(suggestion, fold=0, n_folds=evaluation.n_folds, repeat=0)
    try:
        command = trainer.render(suggestion) if isinstance(trainer, CommandTrainer | NemoRlTrainer) else None
        return Draw(params, command, trainer.config(params))
    except (InputError, TrainerError) as error:
        raise TrainerError(f"the configuration {params} cannot be run: {error}") from error


# --- warnings --------------------------------------------------------------------------------------------------------


def _size_warnings(parts: Parts) -> Iterator[str]:
    size, n_search = parts.space.size, parts.plan.n_search
    if size is not None and size < n_search:
        yield f"the search space has {size} configurations for {n_search} search trials, so some run more than once"


def _change_warnings(preview: Preview) -> Iterator[str]:
    folder = preview.folder
    if not folder.study_file.exists():
        return
    try:
        kept = preview.parts.config.with_base_config(preview.parts.base_config).with_storage_in_place()
        changed = cfg.invalidating(cfg.load(folder.study_file), kept)
    except RltuneError as error:
        yield f"the study file in {folder.path} cannot be read: {error}"
        return
    if changed and not preview.force:
        yield f"{folder.path} holds this study with other settings, so `run` refuses to go on: {'; '.join(changed)}"


# --- as text ---------------------------------------------------------------------------------------------------------


def preview_text(preview: Preview) -> RenderableType:
    """Everything that `check` prints but its last line."""
    parts = preview.parts
    remarks = [Text.assemble(("note     ", "dim"), note) for note in preview.notes]
    remarks += [Text.assemble(("advice   ", "cyan"), str(advice)) for advice in preview.advice]
    remarks += [Text.assemble(("warning  ", "bold yellow"), warning) for warning in preview.warnings]
    return Group(
        Text.assemble((parts.config.name, "bold"), (f"  in {preview.folder.path}", "dim")),
        "",
        *_space(parts),
        "",
        _facts_table(parts),
        "",
        *_drawn(preview.draws),
        "",
        *remarks,
    )


def _space(parts: Parts) -> Iterator[RenderableType]:
    space = parts.space
    table = _table()
    table.add_column("parameter", overflow="fold")
    table.add_column("range", overflow="fold")
    table.add_column("scale", no_wrap=True)
    table.add_column("default", justify="right", overflow="fold")
    believed = any(parameter.prior is not NO_DEFAULT for parameter in space.parameters.values())
    if believed:
        table.add_column("prior", justify="right", overflow="fold")
    if space.conditional:
        table.add_column("when", overflow="fold", style="dim")
    for name, parameter in space.parameters.items():
        row = [name, parameter_range(parameter), parameter_scale(parameter), _given(parameter.default)]
        row += [_given(parameter.prior)] if believed else []
        table.add_row(*row, *([str(parameter.when or "")] if space.conditional else []))
    yield table
    for name, formula in space.derived.items():
        yield Text.assemble(name, (f" = {formula}", "dim"))
    for rule in space.constraints:
        yield Text.assemble(("always  ", "dim"), str(rule))


def parameter_range(parameter: Parameter) -> str:
    """`1e-5 to 0.01`, or the choices."""
    if isinstance(parameter, Categorical):
        return ", ".join(w.value(choice) for choice in parameter.choices)
    zero = "0, or " if isinstance(parameter, Float) and parameter.zero is not None else ""
    return f"{zero}{w.value(parameter.low)} to {w.value(parameter.high)}"


def parameter_scale(parameter: Parameter) -> str:
    """How it is searched, in a word or two."""
    if isinstance(parameter, Categorical):
        return "choice"
    if isinstance(parameter, Int):
        whole = "whole" if parameter.step == 1 else f"step {parameter.step}"
        return f"{whole}, log" if parameter.log else whole
    if parameter.step is not None:
        return f"step {w.value(parameter.step)}"
    return "log" if parameter.log else "linear"


def _given(value: Scalar | NoDefault) -> str:
    return w.MISSING if isinstance(value, NoDefault) else w.value(value)


def _facts_table(parts: Parts) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in _facts(parts):
        table.add_row(label, text)
    return table


def _facts(parts: Parts) -> Iterator[tuple[str, str]]:
    config = parts.config
    for i, objective in enumerate(parts.plan.objectives):
        yield ("objective" if i == 0 else ""), f"{objective.direction} {objective.metric}"
    for i, constraint in enumerate(parts.plan.constraints):
        yield ("feasible" if i == 0 else ""), _constraint(constraint)
    reasons = why(parts)
    for label, part in (("algorithm", config.algorithm), ("pruner", config.pruner)):
        if label in reasons:
            yield label, f"{_named(part)}: {reasons[label]}"
        elif part.name != "none":
            yield label, _named(part)
    if config.guards:
        yield "guards", ", ".join(map(_guard, config.guards, parts.guards))
    if config.trackers:
        yield "trackers", ", ".join(map(_named, config.trackers))
    if config.evaluation.cross_validation:
        yield "folds", _folds(config.evaluation.n_folds, config.evaluation.cross_validation)
    yield "plan", plan_in_words(parts)
    if config.timeout_hours is not None:
        yield "at most", f"{config.timeout_hours:g} h"
    yield "trainer", _trainer(parts)
    yield "executor", _executor(config.executor)


def _folds(n_folds: int, given: CrossValidationConfig) -> str:
    """`5 stratified folds in each trial, split 3 times, 2 at once`."""
    kind = "" if given.data is None or given.kind == "kfold" else f"{given.kind.replace('_', ' ')} "
    words = [f"{n_folds} {kind}folds in each trial"]
    if given.repeats > 1:
        words.append(f"split {given.repeats} times")
    if given.parallel > 1:
        words.append(f"{given.parallel} at once")
    if given.race:
        words.append("fewer where a configuration is clearly worse than the best")
    return ", ".join(words)


def _constraint(constraint: Constraint) -> str:
    low = f"{w.number(constraint.min)} <= " if constraint.min is not None else ""
    high = f" <= {w.number(constraint.max)}" if constraint.max is not None else ""
    return f"{low}{constraint.metric}{high}"


def _named(part: Named) -> str:
    return _with_options(part.name, part.options)


def _guard(given: Named, guard: StudyGuard) -> str:
    """With its mode, where that ends nothing; a guard may be so without being told."""
    mode = {"mode": guard.mode.value} if guard.mode is Mode.SHADOW else {}
    return _with_options(given.name, given.options | mode)


def _with_options(name: str, options: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{key}: {value}" for key, value in options.items())
    return f"{name} ({shown})" if shown else name


def _trainer(parts: Parts) -> str:
    given, trainer = parts.config.trainer, parts.trainer
    base = f", on top of {given.config}" if isinstance(given.config, str) else ""
    if given.name is not None:
        return _with_options(given.name, given.options) + base
    if isinstance(trainer, NemoRlTrainer):
        return f"{shlex.join([*trainer.launch, trainer.script])}, with {trainer.recipe.path}"
    if not isinstance(trainer, FunctionTrainer):
        return shlex.join(given.command or ()) + base
    try:
        taken = ", ".join(inspect.signature(trainer.load()).parameters)
    except (TypeError, ValueError):  # built in, without a signature
        taken = "config"
    return f"{given.function}({taken}){base}"


def _executor(executor: ExecutorConfig) -> str:
    words = [executor.name, f"{executor.n_workers} at a time" if executor.n_workers > 1 else "one trial at a time"]
    if executor.fills_a_cluster:
        words[1] = "as many at a time as the cluster holds"
    if executor.name == "ray":
        words.append(executor.address or "on this machine")
        words.append(" + ".join(f"{amount:g} {name}" for name, amount in executor.per_trial.items()) + " each")
    elif executor.gpus_per_trial:
        words.append(f"{executor.gpus_per_trial:g} GPU each")
    if executor.timeout_minutes is not None:
        words.append(f"{executor.timeout_minutes:g} min each at most")
    if executor.setup_minutes is not None:
        words.append(f"{executor.setup_minutes:g} min to the first report at most")
    if executor.stall_minutes is not None:
        words.append(f"{executor.stall_minutes:g} min of silence at most")
    if executor.memory_limit is not None:
        words.append(f"{executor.memory_limit / 1e9:g} GB each at most")
    return ", ".join(words)


def _drawn(draws: Sequence[Draw]) -> Iterator[RenderableType]:
    table = _table()
    table.add_column(overflow="fold")
    for number in range(len(draws)):
        table.add_column(str(number + 1), justify="right", overflow="fold")
    for name, short in w.short_names(dict.fromkeys(name for draw in draws for name in draw.params)).items():
        table.add_row(short, *(w.value(d.params[name]) if name in d.params else w.MISSING for d in draws))
    yield Text(f"{len(draws)} configurations, drawn at random", "dim")
    yield table
    commands = [draw.command for draw in draws if draw.command is not None]
    if commands:
        yield Text("\ntheir commands, were they the first trials", "dim")
        yield from (verbatim(shlex.join(command)) for command in commands)


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


# --- as JSON ---------------------------------------------------------------------------------------------------------


def preview_json(preview: Preview) -> dict[str, Any]:
    parts = preview.parts
    plan, reasons = parts.plan.to_json(), why(parts)
    return {
        "name": parts.config.name,
        "folder": str(preview.folder.path),
        "parameters": {
            name: {
                "range": parameter_range(p),
                "scale": parameter_scale(p),
                "default": None if p.default is NO_DEFAULT else p.default,
                "prior": None if p.prior is NO_DEFAULT else p.prior,
                "when": p.when and str(p.when),
            }
            for name, p in parts.space.parameters.items()
        },
        "derived": {name: str(formula) for name, formula in parts.space.derived.items()},
        "constraints": [str(rule) for rule in parts.space.constraints],
        "objectives": [{"metric": o.metric, "direction": o.direction} for o in parts.plan.objectives],
        "plan": {key: plan[key] for key in ("n_trials", "phases", "default")},
        "algorithm": {"name": parts.config.algorithm.name, "why": reasons.get("algorithm")},
        "pruner": {"name": parts.config.pruner.name, "why": reasons.get("pruner")},
        "draws": [{"params": d.params, "command": d.command, "config": d.config} for d in preview.draws],
        "notes": preview.notes,
        "advice": [advice.to_json() for advice in preview.advice],
        "warnings": preview.warnings,
    }
