"""Ray Tune's functions inside a trial: `tune.report`, `tune.get_checkpoint`, `tune.get_context`.

They ask Ray's session, a variable of one of its modules. While a trial runs, that session is ours: it hands what is
reported to the running `Trial`. Ray is never imported here. Where the user's code imports `ray.tune`, at the top of a
module or in the middle of the trial, the session is put in place right after. So it is for `ray.train`, whose functions
of the same names are the older way to write this, where Ray still lets a trial call them.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from numbers import Number
from pathlib import Path
from types import ModuleType
from typing import Any

from rltune.errors import TrainerError
from rltune.trainers.context import Trial

_TUNE, _TRAIN = "ray.tune", "ray.train"
_HOME = "ray.train._internal.session"
"""The module whose variable `_session` is Ray's session."""

_STEPS = ("step", "training_iteration")
"""Metrics that are the step itself: ours, then Ray Tune's."""


@contextmanager
def ray_session(trial: Trial) -> Iterator[None]:
    """Lets Ray Tune's functions speak of `trial`; a session that Ray itself has here comes back afterwards.

    Raises:
        TrainerError: `ray.tune` is of a version that keeps its session in another way.
    """
    place = _Place(_Session(trial))
    sys.meta_path.insert(0, place)
    try:
        for name in (_TRAIN, _TUNE):
            if name in sys.modules:
                place.fill(name)
        yield
    finally:
        sys.meta_path.remove(place)
        place.restore()


class _Session:
    """As much of a session as Ray Tune's functions read."""

    world_rank = None  # which tells Ray's functions that this is a trial, and not one worker of a distributed training

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._step = 0
        self._left_out: set[str] = set()
        self.trial_id = str(trial.number) if trial.fold is None else f"{trial.number}-{trial.repeat or 0}-{trial.fold}"
        self.trial_name = f"trial-{self.trial_id}"
        self.trial_dir = str(trial.directory)

    @property
    def loaded_checkpoint(self) -> Any:
        """What the trial goes on from, as a `tune.Checkpoint`. Who asks for it counts on from its step."""
        path = self._trial.resume_from
        if path is None:
            return None
        if step := re.fullmatch(r"step-(\d+)", path.name):
            self._step = max(self._step, int(step[1]))
        home: Any = sys.modules.get(_TUNE)
        if not hasattr(home, "Checkpoint"):
            home = sys.modules[_TRAIN]
        return home.Checkpoint.from_directory(str(path))

    def report(self, metrics: Mapping[str, Any], checkpoint: Any = None) -> None:
        """Reports the numbers among the metrics, with a copy of the checkpoint, which may vanish right afterwards."""
        if not isinstance(metrics, Mapping):
            raise TrainerError(f"tune.report takes a mapping of metrics, got {metrics!r:.60}")
        numbers = dict(self._numbers(metrics))
        named = [numbers.pop(name) for name in _STEPS if name in numbers]
        step = named[0] if named else self._step + 1
        kept = None if checkpoint is None else self._kept(checkpoint, int(step))
        self._trial.report(step, numbers, checkpoint=kept)
        self._step = int(step)

    def _numbers(self, metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Nested metrics by names with slashes, as in Ray; what is no number is only mentioned in the trial's log."""
        for key, value in metrics.items():
            name = f"{prefix}{key}"
            if isinstance(value, Mapping):
                yield from self._numbers(value, f"{name}/")
            elif isinstance(value, Number) or hasattr(value, "item"):
                yield name, value
            elif name not in self._left_out:
                self._left_out.add(name)
                print(f"rltune: tune.report: `{name}` is no number, and is left out", file=sys.stderr)

    def _kept(self, checkpoint: Any, step: int) -> Path:
        if not hasattr(checkpoint, "as_directory"):
            hint = "as in tune.Checkpoint.from_directory(folder)"
            raise TrainerError(f"tune.report takes a tune.Checkpoint, {hint}; got {checkpoint!r:.60}")
        kept = self._trial.directory / "checkpoints" / f"step-{step}"
        with checkpoint.as_directory() as folder:
            if kept.exists() and kept.samefile(folder):
                return kept
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(kept, ignore_errors=True)  # of the same step, reported before
            shutil.copytree(folder, kept, ignore=partial(_kept_before, kept.parent))
        return kept

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"rltune runs this trial and has no `{name}` for Ray's functions")


def _kept_before(parent: Path, at: str, names: list[str]) -> list[str]:
    """Our own copies, where the user's folder is one that holds them."""
    return [name for name in names if name.startswith("step-")] if parent.samefile(at) else []


class _Place:
    """Where Ray keeps its session; as a finder of modules, it is told when `ray.tune` or `ray.train` is imported."""

    def __init__(self, session: _Session) -> None:
        self._session = session
        self._home: ModuleType | None = None
        self._before: Any = None

    def fill(self, name: str) -> None:
        """Puts our session in place, after the module of that name has been imported."""
        if self._home is not None:
            return
        home = sys.modules.get(_HOME)
        if home is None or not hasattr(home, "_session") or not callable(getattr(home, "get_session", None)):
            if name == _TRAIN:  # which is imported for other things as well
                return
            version = getattr(sys.modules.get("ray"), "__version__", "of an unknown version")
            message = f"rltune does not know how tune.report works in Ray {version}"
            raise TrainerError(f"{message}: call rltune.report instead, and do not import ray.tune in the trial")
        self._home, self._before = home, home._session
        home._session = self._session  # type: ignore[attr-defined]

    def restore(self) -> None:
        if self._home is not None:
            self._home._session = self._before  # type: ignore[attr-defined]

    def find_spec(self, name: str, path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in (_TUNE, _TRAIN):
            return None
        spec = PathFinder.find_spec(name, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path, self)
        return spec


class _Loader(SourceFileLoader):
    """The usual one, which says when it is done."""

    def __init__(self, name: str, path: str, place: _Place) -> None:
        super().__init__(name, path)
        self._place = place

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        self._place.fill(module.__name__)
