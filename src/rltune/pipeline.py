"""The guide's automated pipeline: a function, a search space, and the best configuration found."""

from __future__ import annotations

import copy
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rltune import config as cfg
from rltune import session
from rltune.config.build import Parts
from rltune.records import TrialRecord, effective
from rltune.space import SearchSpace
from rltune.trainers.config_text import merged
from rltune.tuner import Tuner
from rltune.types import Cause

_METRIC = "score"
"""What the function's number is called in the study."""


class AutomatedHyperparameterOptimization:
    """Optimises a function of a configuration and remembers every trial.

    ::

        pipeline = AutomatedHyperparameterOptimization(search_algorithm="bayesian", n_trials=30)
        best_params, best_value = pipeline.optimize(
            lambda config: (config["lr"] - 1e-4) ** 2,
            {"lr": ("float", 1e-6, 1e-2, {"log": True}), "batch_size": ("categorical", [8, 16, 32])},
        )

    It is a study with the protocol `simple`: each configuration runs once, and the best single run wins, which luck
    makes look better than it is. `rltune.tune` runs the winner and your default again on fresh seeds before it says
    which to ship, and takes everything else that a study file does.

    Args:
        search_algorithm: `bayesian`, `random`, `grid` or any other sampler's name, or a mapping of its name and
            options: `{"name": "tpe", "multivariate": True}`.
        n_trials: How many configurations are tried; a grid with fewer ends with its last one.
        direction: `minimize` or `maximize`.
        executor: `inline` calls the function in this very process, one trial after another. `local` gives each trial a
            process of its own; a mapping, as in `{"name": "local", "workers": 4}`, runs several at once.
        seed: From which every draw follows; None for the study file's default.
        out: The study's folder, where a second call goes on with what is there. None for a temporary one, which goes
            when this object goes.

    Attributes:
        results: What `generate_report` gives as `optimization_history`.
    """

    def __init__(
        self,
        search_algorithm: str | Mapping[str, Any] = "bayesian",
        n_trials: int = 100,
        *,
        direction: str = "minimize",
        executor: str | Mapping[str, Any] = "inline",
        seed: int | None = None,
        out: str | Path | None = None,
    ) -> None:
        self.search_algorithm = search_algorithm
        self.n_trials = n_trials
        self.direction = direction
        self.executor = executor
        self.seed = seed
        self.out = out
        self.results: list[dict[str, Any]] = []
        self._best: tuple[dict[str, Any] | None, float | None] = (None, None)

    def optimize(
        self, objective_function: Callable[..., Any], search_space: Mapping[str, Any]
    ) -> tuple[dict[str, Any] | None, float | None]:
        """Runs the trials and returns the best configuration and its value.

        A trial that raises, or returns NaN or infinity, does not end the others; the history has its cause.

        Args:
            objective_function: Called with a configuration by the names of the search space; names with dots nest. It
                returns the number to optimise.
            search_space: Parameters by name, each in the guide's short form `("float", 1e-5, 1e-3, {"log": True})` or
                as in the study file `{"type": "float", "min": 1e-5, "max": 1e-3, "log": True}`.

        Returns:
            The configuration, as the function was called with it, and its value; `(None, None)` where no trial has one.

        Raises:
            StudyFileError: An unknown algorithm, a search space that it cannot search, or whatever else is wrong:
                every problem, before anything has run.
            FolderError: The study's folder cannot be used.
            KeyboardInterrupt: Ctrl-C, once the report has the trials that had ended.
        """
        config = cfg.from_mapping(self._study(search_space), trainer=objective_function)
        space = SearchSpace.from_mapping(config.search_space)
        stopping = _Interruption()
        result = session.run(
            config,
            out=self._temporary_folder() if self.out is None else Path(self.out),
            should_stop=stopping.is_due,
            on_open=_never_give_up,
            on_change=stopping.look,
        )
        self.results = [_entry(record, space) for record in effective(result.records) if record.state.is_finished()]
        best = result.best
        self._best = (None, None) if best is None else (_config(best, space), best.value)
        if stopping.is_due():
            raise KeyboardInterrupt
        return copy.deepcopy(self._best)

    def generate_report(self) -> dict[str, Any]:
        """What came out so far.

        Returns:
            `best_config` and `best_score`, None where no trial has a value; `total_trials`; and
            `optimization_history`, one entry a trial in the order of their numbers: `config`; `score`, what the
            function returned, or None; `number`; `state`, which is `complete` or `fail`; `seconds`; `cause` and
            `message`, why it failed, the traceback last.
        """
        best_config, best_score = copy.deepcopy(self._best)
        return {
            "best_config": best_config,
            "best_score": best_score,
            "total_trials": len(self.results),
            "optimization_history": copy.deepcopy(self.results),
        }

    def _study(self, search_space: Mapping[str, Any]) -> dict[str, Any]:
        """The study file."""
        return {
            "algorithm": self.search_algorithm,
            "n_trials": self.n_trials,
            "search_space": search_space,
            "evaluation": {"metric": _METRIC, "direction": self.direction},
            "executor": self.executor,
            "protocol": "simple",
            **({} if self.seed is None else {"seed": self.seed}),
        }

    def _temporary_folder(self) -> Path:
        folder = tempfile.mkdtemp(prefix="rltune-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)


class _Interruption:
    """Ctrl-C in a function that runs in this process reaches the trial; here it ends the study too."""

    def __init__(self) -> None:
        self._came = False

    def look(self, record: TrialRecord) -> None:
        self._came = self._came or record.cause is Cause.INTERRUPTED

    def is_due(self) -> bool:
        return self._came


def _never_give_up(tuner: Tuner, _parts: Parts) -> None:
    """A study ends early where its trainer never works; here the guide promises every trial."""
    tuner.max_failures = tuner.first_failures = sys.maxsize


def _entry(record: TrialRecord, space: SearchSpace) -> dict[str, Any]:
    return {
        "config": _config(record, space),
        "score": record.metrics.get(_METRIC),
        "number": record.number,
        "state": record.state.name.lower(),
        "seconds": record.seconds,
        "cause": record.cause and record.cause.value,
        "message": record.message,
    }


def _config(record: TrialRecord, space: SearchSpace) -> dict[str, Any]:
    """What the function was given."""
    return merged(None, space.resolve(record.params))
