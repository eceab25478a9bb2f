"""The Python door: the same study as a file describes, from a function and keyword arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rltune import config as cfg
from rltune import session
from rltune.objective import OptimizationObjective
from rltune.session import Result
from rltune.space import split_constants
from rltune.trainers.config_text import merged, unknown_keys


def tune(
    trainer: Callable[..., Any] | str,
    search_space: Mapping[str, Any],
    *,
    metric: str | OptimizationObjective,
    direction: str = "minimize",
    config: Mapping[str, Any] | str | Path | None = None,
    horizon: int | None = None,
    out: str | Path | None = None,
    force: bool = False,
    **study: Any,
) -> Result:
    """Tunes a function.

    Args:
        trainer: Called as `train(config)` or `train(config, trial)`, or `"module:function"`. With the default executor
            each trial runs in a process of its own; `executor="inline"` runs them here, under a debugger.
        search_space: Parameters by dotted name, each as in the study file, in the guide's short form
            `("float", 1e-5, 1e-3, {"log": True})`, or as Ray Tune and Optuna have it: `tune.loguniform(1e-5, 1e-3)`.
            Single values among them are constants, and go to `config`.
        metric: What the function returns or reports that is optimised; or an `OptimizationObjective`, which has the
            direction and the constraints with it.
        direction: `minimize` or `maximize`.
        config: What the function needs beyond the parameters, which are put into it: a mapping, or a file.
        horizon: The step at which a full run ends, which the function gets as `trial.horizon`.
        out: The study's folder; `runs/NAME` where it is not given. A second call on the same folder goes on with it.
        force: Go on although the study has changed since the folder was made.
        study: Any other key of the study file: `n_trials`, `algorithm`, `seed`, `constraints`, `evaluation`,
            `executor`, `protocol` and so on.

    Returns:
        The trials, the best of them, and the verdict on fresh seeds where the search space names defaults.

    Raises:
        StudyFileError: Something given is wrong: every problem.
        RltuneError: See `rltune.session.run`.
    """
    evaluation = {**_objective(metric, direction), **study.pop("evaluation", {})}
    parameters, constants = split_constants(search_space)
    mapping = {"search_space": parameters, "evaluation": evaluation, **study}
    if constants:
        config = _with_constants(config, constants, parameters)
    if config is not None:
        mapping["trainer"] = {"config": str(config) if isinstance(config, Path) else config}
    if horizon is not None:
        mapping["trainer"] = {**mapping.get("trainer", {}), "horizon": horizon}
    parsed = cfg.from_mapping(mapping, trainer=trainer)
    return session.run(parsed, out=None if out is None else Path(out), force=force)


def _with_constants(
    config: Mapping[str, Any] | str | Path | None, constants: Mapping[str, Any], parameters: Iterable[str]
) -> dict[str, Any]:
    """The function's config with the constants in it, and with places for the parameters that belong among them."""
    given = cfg.read(config, root=None).data if isinstance(config, str | Path) else config
    filled = merged(given, constants)
    places = {problem.key[0]: None for problem in unknown_keys(filled, [name for name in parameters if "." in name])}
    return merged(filled, {str(name): None for name in places})


def _objective(metric: str | OptimizationObjective, direction: str) -> dict[str, Any]:
    if not isinstance(metric, OptimizationObjective):
        return {"metric": metric, "direction": direction}
    ranges = {name: {"min": low, "max": high} for name, (low, high) in metric.constraints.items()}
    return {"metric": metric.primary_metric, "direction": metric.direction, "constraints": ranges}


def load(folder: str | Path) -> Result:
    """A study as its folder has it; it may be running, finished, dead or a copy.

    Raises:
        FolderError: There is no study in that folder.
    """
    return session.read(Path(folder))
