"""A sweep of W&B: its YAML file, as `wandb sweep` takes it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rltune.config.reader import read
from rltune.importing.draft import Draft, Setting
from rltune.importing.notes import Notes
from rltune.importing.wandb_command import command_of
from rltune.importing.wandb_space import VARIES, Space, is_number, read_parameters
from rltune.wording import found

_READ = ("name", "program", "command", "method", "metric", "parameters", "early_terminate", "run_cap")
_METHODS = {"bayes": "auto", "random": "random", "grid": "grid"}


def read_sweep(
    path: Path,
    *,
    metric: str | None = None,
    direction: str | None = None,
    command: Sequence[str] | None = None,
    function: str | None = None,
) -> Draft:
    """The sweep in a file.

    Args:
        path: The YAML file.
        metric: In place of the sweep's.
        direction: Likewise.
        command: What runs one trial, in place of the sweep's program.
        function: `module:function` in place of a command.

    Raises:
        StudyFileError: Something in it has no counterpart, or is wrong: every problem, with its line.
    """
    document = read(path, root=None)
    notes, given = Notes(document), document.data
    for key in given:
        if key not in _READ:
            notes.remark((key,), "not taken over: it is about W&B and not about the search")
    space = Space(notes)
    parameters = given.get("parameters")
    if not isinstance(parameters, Mapping) or not parameters:
        notes.refuse(("parameters",), "is missing or empty: a sweep says there what varies")
    else:
        read_parameters(parameters, ("parameters",), space)
    metrics = _metric(given.get("metric"), metric, direction, notes)
    settings = _settings(given, space)
    words: Sequence[str] | None = command
    if command is None and function is None:
        words = command_of(given, space)
    constants = {name: value for name, value in space.passed.items() if value is not VARIES}
    in_config = function is not None or (words is not None and any("{config}" in word for word in words))
    if constants and not in_config and command is not None:
        notes.remark(("parameters",), f"{', '.join(constants)}: the same in every run there; add them to the command")
    if in_config:
        constants = _as_derived(constants, space)
    if not space.ranged and not notes.problems:
        notes.refuse(("parameters",), "nothing varies: every parameter has one value")
    notes.stop()
    return Draft(
        source=f"{path}, a sweep of W&B",
        name=str(given.get("name") or path.stem),
        parameters=space.ranged,
        metrics=metrics,
        command=words,
        function=function,
        config=constants if in_config else {},
        derived=space.derived,
        env={} if in_config or command is not None else space.env,
        settings=settings,
        remarks=notes.remarks,
    )


def _as_derived(constants: dict[str, Any], space: Space) -> dict[str, Any]:
    """What goes into the trainer's own config.

    Beside parameters with dotted names that is nothing: a config that lacks these would be taken for their misspelling,
    so there a constant is a derived value.
    """
    if not any("." in name for name in space.ranged):
        return constants
    for name, value in constants.items():
        if isinstance(value, bool | int | float | str):
            space.derived[name] = repr(value)
        else:
            space.notes.remark(
                ("parameters", *name.split(".")), f"not taken over: {found(value)}; give it to the program"
            )
    return {}


# --- the rest --------------------------------------------------------------------------------------------------------


def _metric(given: Any, name: str | None, direction: str | None, notes: Notes) -> list[tuple[str, str]]:
    given = {"name": given} if isinstance(given, str) else given
    if given is not None and not isinstance(given, Mapping):
        notes.refuse(
            ("metric",), f"must be a mapping, got {found(given)}", "as in metric: {name: loss, goal: minimize}"
        )
        given = None
    given = given or {}
    for key in given:
        if key == "target":
            told = "not taken over: a study ends after n_trials, timeout_hours, budget or study_patience"
            notes.remark(("metric", "target"), told)
        elif key not in ("name", "goal"):
            notes.remark(("metric", str(key)), "not taken over")
    goal = direction or given.get("goal", "minimize")
    if goal not in ("minimize", "maximize"):
        notes.refuse(("metric", "goal"), f"must be minimize or maximize, got {found(goal)}")
    name = name or given.get("name")
    if not name:
        notes.refuse(("metric",), "has no name: nothing says what a good run is", "give it by --metric and --direction")
    return [(str(name), str(goal))]


def _settings(given: Mapping[str, Any], space: Space) -> dict[str, Setting]:
    notes, settings = space.notes, dict[str, Setting]()
    method = given.get("method")
    if method not in _METHODS:
        what = "is missing" if method is None else f"is {found(method)}, which rltune does not know"
        notes.refuse(("method",), what, "one of bayes, random and grid")
        return settings
    settings["algorithm"] = Setting(
        _METHODS[method], "a model of the trials, as with method: bayes" if method == "bayes" else ""
    )
    if method == "grid":
        for name, parameter in space.read.items():
            if parameter.n_grid_points is None:
                notes.refuse(("parameters", *name.split(".")), "has no grid: `method: grid` needs values",
                             "list them, or use q_uniform with a `q`")  # fmt: skip
    settings["n_trials"] = _n_trials(given.get("run_cap"), method, space)
    if (pruner := _pruner(given.get("early_terminate"), notes)) is not None:
        settings["pruner"] = pruner
    elif _METHODS[method] == "auto":  # which by itself ends trials early
        settings["pruner"] = Setting("none", "the sweep runs all to their end; without this line, rltune does not")
    return settings


def _n_trials(cap: Any, method: str, space: Space) -> Setting:
    if cap is not None:
        if isinstance(cap, bool) or not isinstance(cap, int) or cap < 1:
            space.notes.refuse(("run_cap",), f"must be a whole number from 1, got {found(cap)}")
        return Setting(cap, "run_cap")
    sizes = [parameter.n_grid_points for parameter in space.read.values()]
    if method == "grid" and all(sizes):
        return Setting(math.prod(size or 1 for size in sizes), "the whole grid")
    return Setting(100, "the sweep has no run_cap, and goes on until somebody stops it")


def _pruner(given: Any, notes: Notes) -> Setting | None:
    """W&B's `hyperband` is successive halving: at each band, one run in `eta` goes on."""
    if given is None:
        return None
    if not isinstance(given, Mapping) or given.get("type") != "hyperband":
        kind = given.get("type") if isinstance(given, Mapping) else given
        notes.remark(("early_terminate",), f"not taken over: {found(kind)} is none of W&B's rules that rltune knows")
        return None
    for key in given:
        if key == "strict" and given[key]:
            told = "not taken over: a run is judged when it reaches a band, and not again between bands"
            notes.remark(("early_terminate", "strict"), told)
        elif key not in ("type", "min_iter", "max_iter", "s", "eta", "strict"):
            notes.remark(("early_terminate", str(key)), "not taken over")
    eta, first = given.get("eta", 3), given.get("min_iter")
    if not is_number(eta) or eta != int(eta) or eta < 2:
        notes.remark(("early_terminate", "eta"), f"no pruner: it goes by whole numbers from 2 on, got {found(eta)}")
        return None
    if "max_iter" in given and is_number(given["max_iter"]):
        bands = [int(given["max_iter"] / eta**k) for k in range(1, int(given.get("s", 1)) + 1)]
        first = min((band for band in bands if band >= 1), default=1)
        if "min_iter" in given:
            notes.remark(
                ("early_terminate", "min_iter"), "W&B goes by max_iter and s where both are given; so does this"
            )
    if first is None or not is_number(first) or first < 1:
        notes.refuse(("early_terminate",), "needs min_iter, or max_iter and s")
        return None
    told = "one band in `eta` goes on; an iteration there is how often the metric was logged, here the step of a report"
    notes.remark(("early_terminate",), told.replace("one band", "one run"))
    value = {"name": "halving", "min_resource": int(first), "reduction_factor": int(eta)}
    return Setting(value, "early_terminate: hyperband")
