"""A sweeper block of Hydra: that of hydra-optuna-sweeper, in either of its forms, or of the basic sweeper."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rltune.config.reader import Document, read
from rltune.errors import Key
from rltune.importing.draft import Draft, Setting
from rltune.importing.hydra_space import Space, read_space, with_defaults
from rltune.importing.notes import Notes
from rltune.wording import found

_SAMPLERS: Mapping[str, tuple[str, Sequence[str]]] = {
    "TPESampler": ("tpe", ("n_startup_trials", "n_ei_candidates", "multivariate", "group", "constant_liar")),
    "RandomSampler": ("random", ()),
    "GridSampler": ("grid", ()),
    "QMCSampler": ("sobol", ()),
    "GPSampler": ("gp", ("n_startup_trials", "deterministic_objective")),
    "CmaEsSampler": (
        "cmaes",
        ("n_startup_trials", "popsize", "use_separable_cma", "lr_adapt", "consider_pruned_trials"),
    ),
    "NSGAIISampler": ("nsga2", ("population_size", "mutation_prob", "crossover_prob", "swapping_prob")),
}
"""Optuna's samplers as study files call them, with the options that both have."""

_SHORT = {"tpe": "TPESampler", "random": "RandomSampler", "grid": "GridSampler", "cmaes": "CmaEsSampler",
          "nsgaii": "NSGAIISampler"}  # fmt: skip
"""Hydra's config group of samplers."""

_OPTUNA_KEYS = {
    "sampler",
    "direction",
    "storage",
    "study_name",
    "n_trials",
    "n_jobs",
    "max_failure_rate",
    "search_space",
    "custom_search_space",
}
_TRIALS = 20  # the sweeper's default


def read_sweeper(
    path: Path,
    *,
    metric: str | None = None,
    direction: str | None = None,
    command: Sequence[str] | None = None,
    function: str | None = None,
) -> Draft:
    """The sweeper of an application's config.

    Args:
        path: The config, with `hydra.sweeper` in it; or a file of the group `hydra/sweeper`.
        metric: What to call what the application returns.
        direction: Where it should go, in place of the sweeper's.
        command: What runs one trial.
        function: `module:function` in place of a command.

    Raises:
        StudyFileError: Something in it has no counterpart, or is wrong: every problem, with its line.
        RltuneError: Hydra is missing.
    """
    document = read(path, root=None)
    notes, key = Notes(document), _place(document)
    sweeper: Any = document.data
    for part in key:
        sweeper = sweeper[part]
    groups = _groups(document.data)
    by_optuna = _is_optuna(sweeper, groups, key, notes)
    space = Space(notes, by_optuna)
    read_space(sweeper, key, space)
    settings = _settings(sweeper, groups, key, space)
    metrics = _metrics(sweeper.get("direction"), key, metric, direction, notes)
    workers = _workers(document.data, sweeper, groups, space)
    _remark_rest(document.data, sweeper, key, notes)
    if not space.ranged and not notes.problems:
        notes.refuse(
            key, "nothing varies: there are no `params`", "as in params: {lr: 'tag(log, interval(1e-5, 1e-2))'}"
        )
    notes.stop()
    if function is not None and space.fixed:
        notes.remark((*key, "params"), f"not taken over, for a function gets no words: {' '.join(space.fixed)}")
    return Draft(
        source=f"{path}, a sweeper of Hydra",
        name=str(sweeper.get("study_name") or path.stem),
        parameters=with_defaults(space, document.data),
        metrics=metrics,
        command=command,
        words=() if function is not None else space.fixed,
        function=function,
        settings=settings,
        workers=workers,
        remarks=notes.remarks,
    )


def _place(document: Document) -> Key:
    """Where the sweeper stands."""
    data = document.data
    hydra = data.get("hydra")
    if isinstance(hydra, Mapping) and isinstance(hydra.get("sweeper"), Mapping):
        return ("hydra", "sweeper")
    notes = Notes(document)
    if "trainer" in data or "evaluation" in data:
        key = "trainer" if "trainer" in data else "evaluation"
        notes.refuse((key,), "this is a study file of rltune, not a sweeper of Hydra", "run it with `rltune run`")
        notes.stop()
    if "hydra" not in data and ("params" in data or "search_space" in data):
        return ()
    hint = "as in hydra: {sweeper: {params: {lr: 'interval(0.001, 0.1)'}}}"
    notes.refuse(("hydra",) if "hydra" in data else (), "there is no `hydra.sweeper` with parameters in it", hint)
    notes.stop()
    raise AssertionError


def _groups(data: Mapping[str, Any]) -> dict[str, str]:
    """What the defaults list chooses: `hydra/sweeper` by `override hydra/sweeper: optuna`."""
    chosen = {}
    for item in data.get("defaults") or ():
        for name, option in item.items() if isinstance(item, Mapping) else ():
            chosen[str(name).removeprefix("override ").strip().lstrip("/")] = str(option)
    return chosen


def _is_optuna(sweeper: Mapping[str, Any], groups: Mapping[str, str], key: Key, notes: Notes) -> bool:
    target, group = str(sweeper.get("_target_", "")), groups.get("hydra/sweeper")
    if "optuna" in target.lower() or group == "optuna":
        return True
    if group not in (None, "basic") or (target and "basic" not in target.lower()):
        hint = "rltune knows optuna and basic"
        named = group or target
        notes.refuse((*key, "_target_") if target else ("defaults",), f"`{named}` is another sweeper", hint)
    return group is None and not target and not _OPTUNA_KEYS.isdisjoint(sweeper)


# --- the rest --------------------------------------------------------------------------------------------------------


def _settings(sweeper: Mapping[str, Any], groups: Mapping[str, str], key: Key, space: Space) -> dict[str, Setting]:
    notes, settings = space.notes, dict[str, Setting]()
    size = _grid_size(space.read.values())
    if not space.by_optuna:
        settings["algorithm"] = Setting("grid", "the basic sweeper tries every combination once")
        settings["n_trials"] = Setting(size or 1, "the whole grid")
        return settings
    algorithm = _algorithm(sweeper.get("sampler"), groups.get("hydra/sweeper/sampler"), key, notes)
    settings["algorithm"] = algorithm
    if algorithm.value == "auto":  # which by itself ends trials early
        settings["pruner"] = Setting("none", "the sweeper runs all to their end; without this line, rltune does not")
    given = sweeper.get("n_trials", _TRIALS)
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        notes.refuse((*key, "n_trials"), f"must be a whole number from 1, got {found(given)}")
        given = _TRIALS
    grid = algorithm.value == "grid"
    if grid and size is None:
        notes.refuse((*key, "params"), "a grid needs a step or choices for every parameter")
    n = min(given, size) if grid and size is not None else given
    settings["n_trials"] = Setting(n, "" if "n_trials" in sweeper else "the sweeper's default")
    sampler = sweeper.get("sampler")
    seed = sampler.get("seed") if isinstance(sampler, Mapping) else None
    if isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0:
        settings["seed"] = Setting(seed, "the sampler's; rltune draws other configurations from it")
    return settings


def _grid_size(parameters: Any) -> int | None:
    sizes = [parameter.n_grid_points for parameter in parameters]
    return math.prod(sizes) if all(sizes) else None


def _algorithm(given: Any, group: str | None, key: Key, notes: Notes) -> Setting:
    target = str(given.get("_target_", "")) if isinstance(given, Mapping) else ""
    name = target.rpartition(".")[2] or _SHORT.get(str(group), "")
    if not name and not given and group is None:
        return Setting("auto", "the sweeper's default is tpe")
    if name not in _SAMPLERS:
        notes.remark((*key, "sampler"), f"not taken over: rltune has no {target or group}; the study searches by auto")
        return Setting("auto")
    algorithm, options = _SAMPLERS[name]
    taken = {}
    for option, value in given.items() if isinstance(given, Mapping) else ():
        if option in options and value is not None:
            taken[str(option)] = value
        elif option not in ("_target_", "seed") and value is not None:
            notes.remark((*key, "sampler", str(option)), f"not taken over: `{algorithm}` has no such option here")
    return Setting({"name": algorithm, **taken} if taken else algorithm)


def _metrics(given: Any, key: Key, metric: str | None, direction: str | None, notes: Notes) -> list[tuple[str, str]]:
    directions = [direction] if direction else given if isinstance(given, list) else [given or "minimize"]
    for each in directions:
        if each not in ("minimize", "maximize"):
            notes.refuse((*key, "direction"), f"must be minimize or maximize, got {found(each)}")
    name = metric or "objective"
    names = [name] if len(directions) == 1 else [f"{name}_{i}" for i in range(len(directions))]
    told = f"the sweeper takes what the application returns; here it reports it, as {', '.join(names)}"
    notes.remark((*key, "direction") if given is not None else key, told)
    return list(zip(names, map(str, directions), strict=True))


def _workers(
    data: Mapping[str, Any], sweeper: Mapping[str, Any], groups: Mapping[str, str], space: Space
) -> Setting | None:
    launcher = data.get("hydra", {}).get("launcher") if isinstance(data.get("hydra"), Mapping) else None
    chosen = groups.get("hydra/launcher")
    if launcher is not None or chosen not in (None, "basic", "joblib"):
        place = ("hydra", "launcher") if launcher is not None else ("defaults",)
        space.notes.remark(place, "not taken over, but for the n_jobs of joblib: `executor` says where trials run")
    jobs = launcher.get("n_jobs") if isinstance(launcher, Mapping) else None
    if space.by_optuna and isinstance(sweeper.get("n_jobs"), int):
        jobs = sweeper["n_jobs"]
    if not isinstance(jobs, int) or isinstance(jobs, bool) or jobs < 1:
        return None
    return Setting(jobs, "n_jobs")


def _remark_rest(data: Mapping[str, Any], sweeper: Mapping[str, Any], key: Key, notes: Notes) -> None:
    """Keys that nobody has looked at."""
    told = {
        "storage": "not taken over: a study keeps its own; `rltune import optuna` takes over what is in that one",
        "max_failure_rate": "not taken over: max_failures_in_a_row ends a study whose trials fail",
        "max_batch_size": "not taken over: executor.workers says how many trials run at once",
    }
    known = _OPTUNA_KEYS | {"params", "_target_", "defaults", "max_batch_size"}
    for name, value in sweeper.items():
        if value is not None and (name in told or name not in known):
            notes.remark((*key, str(name)), told.get(name, "not taken over"))
    hydra = data.get("hydra")
    for name in hydra if isinstance(hydra, Mapping) and key else ():
        if name not in ("sweeper", "launcher"):
            notes.remark(("hydra", str(name)), "not taken over: the application reads it itself")
