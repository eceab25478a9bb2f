"""The Python door: the same study as a file describes, from a function and keyword arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rltune import config as cfg
from rltune import session
from rltune.objective import OptimizationObjective
from rltune.session import Result


def tune(
    trainer: Callable[..., Any] | str,
    search_space: Mapping[str, Any],
    *,
    metric: str | OptimizationObjective,
    direction: str = "minimize",
    config: Mapping[str, Any] | str | Path | None = None,
    out: str | Path | None = None,
    force: bool = False,
    **study: Any,
) -> Result:
    """Tunes a function.

    Args:
        trainer: Called as `train(config)` or `train(config, trial)`, or `"module:function"`. With the default executor
            each trial runs in a process of its own; `executor="inline"` runs them here, under a debugger.
        search_space: Parameters by dotted name, each as in the study file or in the guide's short form
            `("float", 1e-5, 1e-3, {"log": True})`.
        metric: What the function returns or reports that is optimised; or an `OptimizationObjective`, which has the
            direction and the constraints with it.
        direction: `minimize` or `maximize`.
        config: What the function needs beyond the parameters, which are put into it: a mapping, or a file.
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
    mapping = {"search_space": search_space, "evaluation": evaluation, **study}
    if config is not None:
        mapping["trainer"] = {"config": str(config) if isinstance(config, Path) else config}
    parsed = cfg.from_mapping(mapping, trainer=trainer)
    return session.run(parsed, out=None if out is None else Path(out), force=force)


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
