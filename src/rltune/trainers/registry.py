"""Trainers by name: those that installed packages offer, and any class of the user's own.

A trainer of one's own is a class whose instances are called as `trainer(suggestion, report)`, see
`rltune.types.Trainer`. It gets its options as keywords, and the study's `config:` where it takes an argument
`base_config`. Other methods are optional: `load()`, and all those of `StudyTrainer`.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from rltune.errors import InputError, Problem, RltuneError, TrainerError
from rltune.folder import TrialDir
from rltune.registry import Registry, check_options, parameters_of
from rltune.trainers.config_text import merged, overrides, unknown_keys, yaml_text
from rltune.trainers.context import Trial, running
from rltune.trainers.function import load_function
from rltune.types import Report, Suggestion, Trainer

TRAINERS = Registry("trainer", {})
"""By entry points of the group `rltune.trainers`; ours are the study file's keys `function` and `command`."""

_BASE_CONFIG = "base_config"  # an argument that rltune fills in, for trainers that take one of this name

_PLACE = ("trainer", "name")


class StudyTrainer(Trainer, Protocol):
    """A trainer as a study uses it: besides running trials, it tells what it would run and what is wrong.

    Two methods are optional. `command_line(params)` gives the words that the trainer's own script takes for `params`,
    where these are not `key=value` of `params` themselves. `tidy(directory, superseded=...)` removes what a trial
    kept in its folder for another one to go on from: see `rltune.tuner.Tidy`.
    """

    def config(self, params: Mapping[str, Any], /) -> dict[str, Any]:
        """The whole configuration for `params`, its base config included: what `best_config.yaml` holds.

        Raises:
            TrainerError: There is none.
        """

    def check(self, parameters: Sequence[str] = (), /, *, needs_folds: bool = False) -> list[Problem]:
        """What is wrong, found without training; the places are those of the study file.

        Args:
            parameters: The names in the search space.
            needs_folds: Whether each trial is cross-validated.
        """


def command_line(trainer: StudyTrainer, params: Mapping[str, Any]) -> Sequence[str]:
    """A configuration as the trainer's own script takes it, a word each.

    Raises:
        InputError: A parameter does not fit the trainer's configuration.
        TrainerError: A value cannot be written on a command line, or the trainer's own method fails.
    """
    own = getattr(trainer, "command_line", overrides)
    words: Sequence[str] = own(params)
    return words


@dataclass(frozen=True)
class NamedTrainer:
    """A class of the user's own; what it does not say itself is filled in here.

    It crosses to the trials' processes as its name and its options and is made anew there, so that an instance may
    hold what cannot be pickled.

    Attributes:
        name: An entry point of `rltune.trainers`, or `module:Class`.
        options: The keyword arguments of its class, except for `base_config`.
        base_config: What a trial's parameters are put into.
        search_path: The folder that the module of `module:Class` is looked for first: that of the study file.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    base_config: Mapping[str, Any] | None = None
    search_path: Path | None = None

    def __call__(self, suggestion: Suggestion, report: Report, /) -> Mapping[str, float] | None:
        """Run one trial.

        Raises:
            RltuneError: The trainer cannot be made, or a parameter does not fit the base config.
            TrialStopped: As `report`.
            Exception: Whatever the trainer raises.
        """
        config = self.config(suggestion.params)
        with suppress(TrainerError):  # a config given from Python may hold what YAML has no form for
            TrialDir(suggestion.directory).config.write_text(yaml_text(config), encoding="utf-8")
        with running(Trial(suggestion, report)):
            returned: Mapping[str, float] | None = self._own(suggestion, report)
        return returned

    def load(self) -> None:
        """What every trial needs: forked processes share it.

        Raises:
            InputError: The trainer cannot be made.
            TrainerError: Its own `load` fails.
        """
        yaml_text({})  # loads its library
        if load := self._method("load"):
            with _told(f"`{self.name}` failed in load()"):
                load()

    def config(self, params: Mapping[str, Any], /) -> dict[str, Any]:
        """What the trainer says that it runs for `params`, else the base config with `params` set in it.

        Raises:
            TrainerError: A dotted name does not fit the base config, or the trainer's own `config` fails.
        """
        config = self._method("config")
        if config is None:
            return merged(self.base_config, params)
        with _told(f"`{self.name}` failed in config()"):
            given = config(params)
        if not isinstance(given, Mapping):
            raise TrainerError(f"config() of `{self.name}` must return a mapping, got {given!r:.80}")
        return dict(given)

    def check(self, parameters: Sequence[str] = (), /, *, needs_folds: bool = False) -> list[Problem]:
        """What is wrong, found without training; the places are those of the study file.

        Args:
            parameters: The names in the search space.
            needs_folds: Whether each trial is cross-validated: for the trainer's own `check` to judge.
        """
        dotted = [name for name in parameters if "." in name] if self.base_config else []
        unknown = [p.under("search_space") for p in unknown_keys(self.base_config or {}, dotted)]
        try:
            return [*self._check(parameters, needs_folds=needs_folds), *unknown]
        except InputError as error:
            return [*(problem.under("trainer") for problem in error.problems), *unknown]
        except TrainerError as error:
            return [Problem(_PLACE, str(error)), *unknown]

    def command_line(self, params: Mapping[str, Any], /) -> Sequence[str]:
        """The words that the trainer says its script takes for `params`, else `key=value` of each.

        Raises:
            TrainerError: The trainer's own `command_line` fails.
        """
        own = self._method("command_line")
        if own is None:
            return overrides(params)
        with _told(f"`{self.name}` failed in command_line()"):
            return tuple(own(params))

    def tidy(self, directory: Path, /, *, superseded: bool) -> None:
        """What the trainer does about what an ended trial has left, if anything.

        Raises:
            TrainerError: The trainer's own `tidy` fails.
        """
        if own := self._method("tidy"):
            with _told(f"`{self.name}` failed in tidy()"):
                own(directory, superseded=superseded)

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)} | {"_path": list(sys.path)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        sys.path += [entry for entry in state.pop("_path") if entry not in sys.path]
        self.__dict__.update(state)

    @cached_property
    def _own(self) -> Any:
        """The user's trainer, made once a process.

        Raises:
            InputError: There is none of this name, an option is refused, or the class itself fails; the places are
                relative to the study file's `trainer`.
        """
        part = find_trainer(self.name, self.search_path)
        try:
            with _told(f"`{self.name}` failed when it was made"):
                parameters = parameters_of(part)
                check_options(self.name, parameters, self.options, ours=(_BASE_CONFIG,))
                given = {_BASE_CONFIG: merged(self.base_config, {})} if _BASE_CONFIG in parameters else {}
                return part(**given, **self.options)
        except TrainerError as error:
            raise InputError([Problem(("name",), str(error))]) from error

    def _method(self, name: str) -> Callable[..., Any] | None:
        """One of the optional methods; an attribute that merely has its name, such as a mapping `config`, is none."""
        method = getattr(self._own, name, None)
        return method if callable(method) else None

    def _check(self, parameters: Sequence[str], *, needs_folds: bool) -> list[Problem]:
        if problem := _call_problem(self._own):
            hint = "write __call__(self, suggestion, report), which reports and returns metrics or None"
            return [Problem(_PLACE, f"`{self.name}` {problem}", hint)]
        check = self._method("check")
        if check is None:
            return []
        with _told(f"`{self.name}` failed in check()"):
            problems = list(check(list(parameters), needs_folds=needs_folds))
        if strange := [p for p in problems if not isinstance(p, Problem)]:
            raise TrainerError(f"check() of `{self.name}` must return Problems, got {strange[0]!r:.80}")
        return problems


def find_trainer(name: str, search_path: Path | None = None) -> type:
    """The class of that name.

    Args:
        name: An entry point of `rltune.trainers`, or `module:Class`.
        search_path: A folder that goes to the front of Python's path, for good, where the name is `module:Class`.

    Raises:
        InputError: There is no such class, or its module cannot be imported.
    """
    check_trainer(name)
    offered = tuple(entry_points(group=TRAINERS.group, name=name))
    try:
        if offered:
            found: Any = load_function(f"{offered[0].module}:{offered[0].attr}")
        else:
            found = load_function(name, search_path)
    except TrainerError as error:
        raise InputError([Problem(("name",), str(error))]) from error
    if not isinstance(found, type):
        hint = f"write function: {name}" if ":" in name else ""
        raise InputError([Problem(("name",), f"`{name}` is a function, and a trainer by name is a class", hint)])
    return found


def check_trainer(name: str) -> None:
    """As much of `find_trainer` as imports nothing: a name that is nowhere.

    Raises:
        InputError: There is no such name; the message says which there are.
    """
    if not TRAINERS.names() and ":" not in name:
        hint = f"no installed package offers one; write `{TRAINERS.form}` for one of your own"
        raise InputError([Problem(("name",), f"there is no trainer `{name}`", hint)])
    if not TRAINERS.knows(name):
        TRAINERS.find(name)


def _call_problem(trainer: Any) -> str | None:
    """Why an instance cannot be called as `trainer(suggestion, report)`; None where it can."""
    if not callable(trainer):
        return "cannot be called"
    call = type(trainer).__call__
    if inspect.iscoroutinefunction(call) or inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
        return "has a __call__ that is async or a generator, which nobody would run to its end"
    try:
        signature = inspect.signature(trainer)
        signature.bind(None, None)
    except TypeError:
        return f"is called with a suggestion and a report, but takes {signature}"
    except ValueError:  # built in, without a signature
        pass
    return None


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Says whose code has failed, and where in it."""
    try:
        yield
    except RltuneError:
        raise
    except Exception as error:  # a class of the user's may raise anything
        frames = [f for f in traceback.extract_tb(error.__traceback__) if Path(f.filename) != Path(__file__)]
        where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
        raise TrainerError(f"{what}: {type(error).__name__}: {error}{where}") from error
