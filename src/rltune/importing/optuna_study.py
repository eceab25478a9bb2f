"""A study of Optuna's as one of rltune's: its search space, from its trials, and the trials themselves.

What a trial of Optuna's has of its own, such as user attributes, is kept in
the copy under `optuna_user_attrs`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from rltune import config as cfg
from rltune import records as rec
from rltune.config.schema import safe_name
from rltune.errors import FolderError, InputError, Problem, SpaceError
from rltune.folder import StudyDir, write_atomic
from rltune.importing.draft import Draft, Ranged, Remark, Setting, text
from rltune.importing.optuna_storage import OptunaStudy
from rltune.reporting import wording as w
from rltune.space import Parameter
from rltune.space.foreign import as_spec
from rltune.space.reading import parse_parameter
from rltune.storage import JOURNAL, open_study
from rltune.types import Purpose
from rltune.wording import listed

_UNEXPLAINED = (
    "{lacking} of {complete} complete trials lack it, and no choice of another parameter tells which. Here every trial "
    "has it, and those that lack it are not known from the start; where it has a condition, write it as `when`"
)
_FEWEST = 2  # trials with a value of a choice, before a condition is read from them


# --- the study file --------------------------------------------------------------------------------------------------


def draft_of(
    study: OptunaStudy,
    name: str,
    *,
    metric: str | None = None,
    command: Sequence[str] | None = None,
    function: str | None = None,
) -> Draft:
    """The study file that goes on where the study has ended.

    Args:
        study: What was read.
        name: Of the new study.
        metric: What the objective is called, where the study does not say.
        command: What runs one trial.
        function: `module:function` in place of a command.

    Raises:
        InputError: There is no search space, or one that a study file cannot have: every problem.
    """
    remarks: list[Remark] = []
    where = f"{study.storage}: {study.name}"
    parameters = _parameters(study, where, remarks)
    names = _metric_names(study, metric, where, remarks)
    constrained = list(dict.fromkeys(name for trial in study.trials for name in _constraints(trial)))
    if constrained:
        told = "a constraint there, a metric here, which holds where it is at most 0; the program reports it too"
        remarks += (Remark(f"{where}: {name}", told) for name in constrained)
    if study.unfinished:
        remarks.append(Remark(where, f"left out, for they have not ended: {w.count(study.unfinished, 'trial')}"))
    remarks.append(Remark(where, "a storage does not keep sampler and pruner; choose them by `algorithm` and `pruner`"))
    return Draft(
        source=study.source,
        name=name,
        parameters=parameters,
        metrics=list(zip(names, study.directions, strict=True)),
        command=command,
        function=function,
        constraints=constrained,
        settings={"n_trials": Setting(100, f"beside the {len(study.trials)} that are known from there")},
        remarks=remarks,
    )


def _metric_names(study: OptunaStudy, metric: str | None, where: str, remarks: list[Remark]) -> list[str]:
    if study.metrics is not None and metric is None:
        return list(study.metrics)
    if metric is not None and len(study.directions) == 1:
        return [metric]
    if metric is not None:
        raise InputError([Problem((), f"--metric names one objective, and the study has {len(study.directions)}")])
    n = len(study.directions)
    names = ["objective"] if n == 1 else [f"objective_{i}" for i in range(n)]
    said = f"Optuna's objective has no name there; it is {listed(names)} here, and the program reports it so"
    remarks.append(Remark(where, said + ("; or name it by --metric" if n == 1 else "")))
    return names


def _parameters(study: OptunaStudy, where: str, remarks: list[Remark]) -> dict[str, Ranged]:
    given: dict[str, list[BaseDistribution]] = {}
    for trial in study.trials:
        for name, distribution in trial.distributions.items():
            given.setdefault(name, []).append(distribution)
    if not given:
        raise InputError([Problem((), f"the study `{study.name}` has no trial that has ended, so no search space",
                                  "write one by `rltune init`")])  # fmt: skip
    problems: list[Problem] = []
    ranged: dict[str, Ranged] = {}
    for name, distributions in given.items():
        try:
            spec, comment = _joined(distributions)
            parse_parameter(name, spec)
        except SpaceError as error:
            problems += [replace(each, key=(name, *each.key[1:])) for each in error.problems]
            continue
        ranged[name] = Ranged(spec, comment)
    if problems:
        raise InputError(problems)
    for name, condition, comment in _conditions(study.trials, ranged):
        if condition is None:
            remarks.append(Remark(f"{where}: {name}", comment))
        else:
            old = ranged[name]
            ranged[name] = Ranged({**old.spec, "when": condition}, "; ".join(filter(None, (old.comment, comment))))
    return ranged


def _joined(distributions: Sequence[BaseDistribution]) -> tuple[dict[str, Any], str]:
    """One range that holds those of all trials.

    Raises:
        SpaceError: There is none.
    """
    different: list[BaseDistribution] = []
    for each in distributions:
        if each not in different:
            different.append(each)
    first = different[-1]
    if len(different) == 1:
        return as_spec(first), ""
    kinds = {type(each) for each in different}
    same = len(kinds) == 1 and isinstance(first, FloatDistribution | IntDistribution)
    if not same or len({(each.log, each.step) for each in different}) > 1:  # type: ignore[attr-defined]
        shown = " and ".join(map(str, different[:3]))
        hint = "a study file has one range for each parameter: write it by hand"
        raise SpaceError([Problem(("",), f"was searched in ways that do not go together: {shown}", hint)])
    spec = as_spec(first)
    spec["min"] = min(each.low for each in different)  # type: ignore[attr-defined]
    spec["max"] = max(each.high for each in different)  # type: ignore[attr-defined]
    return spec, f"the range changed between trials {len(different) - 1} times; this one holds all of them"


def _conditions(trials: Sequence[FrozenTrial], ranged: Mapping[str, Ranged]) -> Iterator[tuple[str, str | None, str]]:
    """For each parameter that some trials lack: the condition that explains it, or None; and what to say of it."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    everywhere = [name for name in ranged if all(name in trial.params for trial in complete)]
    for name in ranged:
        n = sum(name in trial.params for trial in complete)
        if not complete or n in (0, len(complete)):
            continue
        found_one = next(filter(None, (_condition(name, parent, ranged, complete) for parent in everywhere)), None)
        if found_one is not None:
            yield name, found_one, f"as in the {len(complete)} complete trials"
        else:
            yield name, None, _UNEXPLAINED.format(lacking=len(complete) - n, complete=len(complete))


def _condition(name: str, parent: str, ranged: Mapping[str, Ranged], trials: Sequence[FrozenTrial]) -> str | None:
    """`parent in [...]`, where that alone tells which trials have the parameter."""
    if ranged[parent].spec.get("type") != "categorical":
        return None
    having = Counter(trial.params[parent] for trial in trials if name in trial.params)
    lacking = Counter(trial.params[parent] for trial in trials if name not in trial.params)
    if having.keys() & lacking.keys() or sum(lacking.values()) < _FEWEST or sum(having.values()) < _FEWEST:
        return None
    choices = [choice for choice in ranged[parent].spec["choices"] if choice in having]
    said = parent if re.fullmatch(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", parent) else f"`{parent}`"
    if len(choices) == 1:
        return f"{said} == {choices[0]!r}"
    return f"{said} in {choices!r}"


# --- its trials ------------------------------------------------------------------------------------------------------


def write_folder(study: OptunaStudy, draft: Draft, out: Path) -> Path:
    """The study as a folder that every verb of rltune reads, and that a study file names as its `warm_start`.

    Args:
        study: What was read.
        draft: The study file that goes on from it; its search space and metrics are those of the folder.
        out: Where study folders are made.

    Returns:
        The study's folder.

    Raises:
        FolderError: There is a study of that name, or the folder cannot be written to.
    """
    name = safe_name(study.name)
    folder = StudyDir(out / name)
    if folder.study_file.exists() or folder.journal.exists():
        raise FolderError(f"{folder.path} exists already, and would hold the trials; move it away first")
    own = replace(draft, name=name, settings={"n_trials": Setting(max(1, len(study.trials)))})
    config = cfg.from_mapping(_mapping(text(own, folder.study_file)))
    folder.create()
    made = open_study(JOURNAL, folder, name, study.directions)
    space = {parameter: parse_parameter(parameter, ranged.spec) for parameter, ranged in draft.parameters.items()}
    metrics = [metric for metric, _ in draft.metrics]
    made.add_trials([_copied(trial, space, metrics) for trial in study.trials])
    write_atomic(folder.study_file, config.to_yaml())
    return folder.path


def _mapping(written: str) -> dict[str, Any]:
    from rltune.config.nodes import parse

    data: dict[str, Any] = parse(written)[0]
    return data


def _copied(trial: FrozenTrial, space: Mapping[str, Parameter], metrics: Sequence[str]) -> FrozenTrial:
    noted, missed = _Noted(rec.attributes(Purpose.SEARCH, None)), _constraints(trial)
    rec.write_end(cast("optuna.Trial", noted), {**dict(zip(metrics, trial.values or (), strict=False)), **missed})
    if trial.user_attrs:
        noted.set_user_attr("optuna_user_attrs", dict(trial.user_attrs))
    copy = optuna.trial.create_trial(
        state=trial.state,
        values=trial.values,
        params=dict(trial.params),
        distributions={name: _distribution(space[name], trial.distributions[name]) for name in trial.params},
        user_attrs=noted.attributes,
        intermediate_values=dict(trial.intermediate_values),
        constraints=missed,
    )
    copy.datetime_start, copy.datetime_complete = trial.datetime_start, trial.datetime_complete
    return copy


@dataclass(frozen=True)
class _Noted:
    """What is written about a trial that does not exist yet."""

    attributes: dict[str, Any]

    def set_user_attr(self, key: str, value: Any) -> None:
        self.attributes[key] = value


def _distribution(parameter: Parameter, given: BaseDistribution) -> BaseDistribution:
    """The study file's, in which all trials lie."""
    return parameter.distribution if type(parameter.distribution) is type(given) else given


def _constraints(trial: FrozenTrial) -> dict[str, float]:
    """By name; those of a sampler's `constraints_func` have none and are numbered."""
    named = {f"constraint_{key}" if key.isdecimal() else key: value for key, value in trial.constraints.items()}
    return {key: float(value) for key, value in named.items()}
