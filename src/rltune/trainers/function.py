"""A Python function as the trainer: `train(config)`, or with `trial`, `seed`, `fold`, `train_idx`, … besides."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from rltune.errors import InputError, Key, Problem, TrainerError
from rltune.folder import TrialDir
from rltune.trainers.config_text import did_you_mean, merged, unknown_keys, yaml_text
from rltune.trainers.context import Trial, running, split_row
from rltune.trainers.ray_session import ray_session
from rltune.types import Report, Suggestion
from rltune.worker import as_metrics, as_number

Function: TypeAlias = Callable[..., Any]

_INDICES = ("train_idx", "val_idx")
_KNOWN = ("trial", "seed", "fold", "n_folds", "repeat", *_INDICES)
_ALLOWED = (
    "allowed: train(config), and after it any of the parameters "
    f"{', '.join(f'`{name}`' for name in _KNOWN)}, by these names"
)

NAMELESS = re.compile(r":.*<(?:lambda|locals)>")
"""What Python calls a function that cannot be imported by its name: a lambda, or one inside another function."""

Split: TypeAlias = Callable[[Any, int, int], tuple[Any, Any]]
"""From the data, a fold and a repeat to the positions of the samples to train on and to validate on."""


class FunctionTrainer:
    """Calls a Python function with the configuration of one trial.

    The function gets the base config merged with the trial's parameters, a fresh deep copy each time. It may report
    on the way (`Trial.report`, `rltune.report`, Ray's `tune.report`, or by yielding mappings) and returns a number (the
    first objective), a tuple (the objectives in order), a mapping of metrics, or None. An `async` function is run to
    its end.

    Args:
        function: A callable, or ``"package.module:name"``, which is imported in the trial's own process.
        base_config: What the function needs beyond the parameters.
        metric_names: The objectives' names, for results that are bare numbers.
        search_path: The folder that modules are looked for first: that of the study file.
        data: Returns what is split into folds, for a function that takes `train_idx` and `val_idx`; likewise a callable
            or ``"package.module:name"``.
        split: Splits it.
        repeats: How many times, each time in another way.

    Raises:
        TrainerError: `function` is neither a callable nor text.
    """

    def __init__(
        self,
        function: Function | str,
        base_config: Mapping[str, Any] | None = None,
        *,
        metric_names: Sequence[str] = (),
        search_path: Path | None = None,
        data: Function | str | None = None,
        split: Split | None = None,
        repeats: int = 1,
    ) -> None:
        if not (callable(function) or isinstance(function, str)):
            raise TrainerError(f'a function must be callable or "package.module:name", got {function!r:.80}')
        self._function = _Loaded(function, search_path)
        self._data = None if data is None else _Loaded(data, search_path)
        self._samples: Any = None
        self.base_config = base_config
        self.metric_names = tuple(metric_names)
        self.split = split
        self.repeats = repeats

    def __call__(self, suggestion: Suggestion, report: Report, /) -> Mapping[str, float] | None:
        """Run one trial.

        Raises:
            TrainerError: The function cannot be loaded or called, or returned something that is no metric.
            TrialStopped: As `report`.
        """
        function = self.load()
        if problem := signature_problem(function):
            raise TrainerError(problem)
        trial = Trial(suggestion, report)
        config = self.config(suggestion.params)
        with suppress(TrainerError):  # a config given from Python may hold what YAML has no form for
            TrialDir(suggestion.directory).config.write_text(yaml_text(config), encoding="utf-8")
        with running(trial), ray_session(trial):
            returned = function(config, **self._extras(function, trial))
            if inspect.isawaitable(returned):
                returned = asyncio.run(_awaited(returned))
            if inspect.isgenerator(returned):
                returned = self._exhaust(returned, trial)
        return self._metrics(returned)

    def load(self) -> Function:
        """The function itself, and beside it what every trial needs, the data among it: forked processes share it.

        Raises:
            TrainerError: It cannot be imported, or the data cannot be loaded.
        """
        yaml_text({})  # loads its library
        function = self._function.get()
        if self._data is not None and self._samples is None and _takes_indices(function):
            self._samples = self._load_data(self._data)
            if self.split is not None:
                with suppress(InputError):  # `check` has said it, with its line
                    self.split(self._samples, 0, 0)  # loads scikit-learn: once, and not in each fold's process
        return function

    def _load_data(self, data: _Loaded) -> Any:
        try:
            return data.get()()
        except TrainerError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise TrainerError(f"loading the data failed: {what}{_place(error)}") from error

    def config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What the function is given for `params`.

        Raises:
            TrainerError: A dotted name does not fit the base config.
        """
        return merged(self.base_config, params)

    def check(self, parameters: Sequence[str] = (), *, needs_folds: bool = False) -> list[Problem]:
        """What is wrong, found without training; the places are those of the study file.

        Args:
            parameters: The names in the search space.
            needs_folds: Whether each trial is cross-validated.
        """
        place = ("trainer", "function")
        dotted = [name for name in parameters if "." in name] if self.base_config else []
        unknown = [p.under("search_space") for p in unknown_keys(self.base_config or {}, dotted)]
        try:
            function = self.load()
        except TrainerError as error:
            return [Problem(place, str(error)), *unknown]
        if problem := signature_problem(function):
            return [Problem(place, problem), *unknown]
        return [*self._fold_problems(function, needs_folds=needs_folds), *unknown]

    def _fold_problems(self, function: Function, *, needs_folds: bool) -> list[Problem]:
        if not needs_folds and _takes_indices(function, needed=True):
            message = f"{_described(function)} takes indices, which only cross-validation has"
            return [
                Problem(("trainer", "function"), message, "add evaluation.cross_validation, or give them a default")
            ]
        if not needs_folds:
            return []
        first = next(self._misfits(function), None)
        return self._split_problems(("evaluation", "cross_validation", "data")) if first is None else [first]

    def _misfits(self, function: Function) -> Iterator[Problem]:
        """What the function takes, against what cross-validation has to give it."""
        place, folds = ("trainer", "function"), ("evaluation", "cross_validation")
        what, taken = _described(function), set(_recognised(function))
        if not {"fold", "trial", *_INDICES} & taken:
            message = f"cross-validation runs the function once per fold, but {what} takes no `fold`"
            yield Problem(place, message, "write train(config, fold), or turn cross_validation off")
        if self.repeats > 1 and not {"repeat", "trial", *_INDICES} & taken:
            message = f"would train the same folds {self.repeats} times: {what} takes no `repeat`"
            yield Problem((*folds, "repeats"), message, "write train(config, fold, repeat), or remove it")
        if _takes_indices(function, needed=True) and self._data is None:
            message = f"is missing: {what} takes indices, and nothing says of which data"
            yield Problem((*folds, "data"), message, 'name a function that returns it, as in data: "train:dataset"')
        if self._data is not None and not _takes_indices(function):
            message = f"does nothing: {what} takes neither `train_idx` nor `val_idx`"
            yield Problem((*folds, "data"), message, "write train(config, train_idx, val_idx), or remove it")

    def _split_problems(self, place: Key) -> list[Problem]:
        """Whether the data can be split at all."""
        if self._samples is None or self.split is None:
            return []
        try:
            self.split(self._samples, 0, 0)
        except InputError as error:
            return [replace(problem, key=place) for problem in error.problems]
        return []

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_samples": None}  # loaded again where it runs

    def _extras(self, function: Function, trial: Trial) -> dict[str, Any]:
        """What the function takes beside the config, by name."""
        given = {name: getattr(trial, name) for name in ("seed", "fold", "n_folds", "repeat")} | {"trial": trial}
        wanted = _recognised(function)
        if trial.fold is not None and self.split is not None and self._samples is not None:
            given |= zip(_INDICES, self.split(self._samples, trial.fold, trial.repeat or 0), strict=True)
        else:
            wanted = [name for name in wanted if name not in _INDICES]  # which then have defaults
        return {name: given[name] for name in wanted}

    def _exhaust(self, generator: Generator[Any, Any, Any], trial: Trial) -> Any:
        """Report what `generator` yields; return what it returns."""
        with closing(generator):
            while True:
                try:
                    yielded = next(generator)
                except StopIteration as end:
                    return end.value
                if yielded is None:
                    continue
                row = yielded if isinstance(yielded, Mapping) else self._metrics(yielded)
                step, checkpoint, metrics = split_row(row or {})
                trial.report(step, metrics, checkpoint=checkpoint)

    def _metrics(self, returned: Any) -> Mapping[str, float] | None:
        if returned is None:
            return None
        if isinstance(returned, Mapping):
            return as_metrics(returned)
        names, values = self.metric_names, list(returned) if isinstance(returned, (tuple, list)) else [returned]
        if not names:
            raise TrainerError(f"the function returned {returned!r:.60}, but no objective is named: return a mapping")
        if len(values) > len(names) or (len(values) < len(names) and isinstance(returned, (tuple, list))):
            expected = ", ".join(names)
            raise TrainerError(f"the function returned {len(values)} numbers for {len(names)} objectives ({expected})")
        return {name: as_number(name, value) for name, value in zip(names, values, strict=False)}


class _Loaded:
    """A Python object that is needed in another process: given there, imported there, or brought there by value.

    Lambdas, closures and functions of a script or a notebook travel by value.
    """

    def __init__(self, given: Function | str, search_path: Path | None) -> None:
        self._given: Function | str | bytes = given
        self._search_path = search_path

    def get(self) -> Function:
        if isinstance(self._given, str):
            return load_function(self._given, self._search_path)
        if not isinstance(self._given, bytes):
            return self._given
        import cloudpickle

        put_first(self._search_path)
        try:
            self._given = cloudpickle.loads(self._given)
        except Exception as error:
            raise TrainerError(f"the function did not reach its process: {type(error).__name__}: {error}") from error
        return self.get()

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__ | {"_path": list(sys.path)}
        if callable(self._given):
            import cloudpickle

            state["_given"] = cloudpickle.dumps(self._given)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        sys.path += [entry for entry in state.pop("_path") if entry not in sys.path]
        self.__dict__.update(state)


def load_function(spec: str, search_path: Path | None = None) -> Function:
    """Import ``"package.module:name"``; the name may be dotted.

    Args:
        spec: The module, a colon, and a name in it.
        search_path: A folder that goes to the front of Python's path, for good.

    Raises:
        TrainerError: The text has another form; the module is missing or fails; it has no such name.
    """
    if NAMELESS.search(spec):
        what = "is a lambda, or inside another function, and cannot be found by its name"
        raise TrainerError(f'"{spec}" {what}; run it from Python again, or define it at the top of a module')
    module_name, colon, name = spec.partition(":")
    if not (colon and module_name and name) or "/" in module_name or module_name.endswith(".py"):
        raise TrainerError(f'"{spec}" must have the form "package.module:name"{_form_hint(spec)}')
    found: Any = _import(module_name, search_path)
    for part in name.split("."):
        if not hasattr(found, part):
            raise TrainerError(_missing(spec, part, found))
        found = getattr(found, part)
    if not callable(found):
        raise TrainerError(f'"{spec}" is a {type(found).__name__}, not a function')
    function: Function = found
    return function


def signature_problem(function: Function) -> str | None:
    """Why `function` cannot be called as a trainer; None where it can."""
    if inspect.isasyncgenfunction(function):
        return f"{_described(function)} is an async generator; yield from a plain one, or report and return"
    parameters = _parameters(function)
    if parameters is None:  # built in, without a signature: called with the config alone
        return None
    takes_many = [p for p in parameters if p.kind is p.VAR_POSITIONAL]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not positional:
        return None if takes_many else f"{_described(function)} takes no config as its first parameter; {_ALLOWED}"
    if positional[0].name in _KNOWN:
        return f"{_described(function)}: the first parameter is the config, got `{positional[0].name}`; {_ALLOWED}"
    others = [p for p in parameters if p is not positional[0] and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    wrong = [p.name for p in others if p.default is p.empty and (p.name not in _KNOWN or p.kind is p.POSITIONAL_ONLY)]
    if wrong:
        names = ", ".join(f"`{name}`" for name in wrong)
        return f"{_described(function)} cannot be called: nothing is known to pass as {names}; {_ALLOWED}"
    return None


def _parameters(function: Function) -> list[inspect.Parameter] | None:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None


def _recognised(function: Function) -> list[str]:
    """Which of the known names the function takes."""
    parameters = _parameters(function) or []
    return [p.name for p in parameters if p.name in _KNOWN and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _takes_indices(function: Function, *, needed: bool = False) -> bool:
    """Whether it takes any of them; with `needed`, whether it cannot be called without."""
    parameters = {p.name: p for p in _parameters(function) or []}
    taken = [parameters[name] for name in _INDICES if name in _recognised(function)]
    return any(p.default is p.empty or not needed for p in taken)


def _described(function: Function) -> str:
    name = getattr(function, "__qualname__", None) or repr(function)
    try:
        return f"{name}{inspect.signature(function)}"
    except (TypeError, ValueError):
        return name


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def _import(name: str, search_path: Path | None) -> ModuleType:
    put_first(search_path)
    _forget_namesake(name, search_path)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise TrainerError(f"importing `{name}` failed: {error}{_place(error)}") from error
        beside = [p.stem if p.suffix == ".py" else p.name for p in sorted(search_path.iterdir())] if search_path else []
        where = f"in {search_path} or on Python's path" if search_path else "on Python's path"
        hint = did_you_mean(name, [b for b in beside if b.isidentifier()])
        raise TrainerError(f"there is no module `{error.name}` {where}{f'; {hint}' if hint else ''}") from error
    except SyntaxError as error:
        raise TrainerError(f"importing `{name}` failed: {error.msg} ({error.filename}:{error.lineno})") from error
    except (Exception, SystemExit) as error:  # a module may raise anything
        what = f"{type(error).__name__}: {error}"
        raise TrainerError(f"importing `{name}` failed: {what}{_place(error)}") from error


def put_first(search_path: Path | None) -> None:
    """Lets modules in this folder be found before all others; for good."""
    if search_path is not None and str(search_path) not in sys.path[:1]:
        sys.path.insert(0, str(search_path))


def _forget_namesake(name: str, search_path: Path | None) -> None:
    """Drop a module of the same name that was imported from another folder, for another study."""
    top = name.partition(".")[0]
    loaded = sys.modules.get(top)
    spec = PathFinder.find_spec(top, [str(search_path)]) if search_path is not None and loaded is not None else None
    if loaded is None or spec is None or spec.origin is None:
        return
    file = getattr(loaded, "__file__", None)
    if file is not None and Path(file).resolve() == Path(spec.origin).resolve():
        return
    importlib.invalidate_caches()
    for other in [m for m in sys.modules if m == top or m.startswith(f"{top}.")]:
        del sys.modules[other]


def _place(error: BaseException) -> str:
    """Where in the user's files an import failed."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    outside = [f for f in frames if Path(f.filename) != Path(__file__)]
    return f" ({outside[-1].filename}:{outside[-1].lineno})" if outside else ""


def _form_hint(spec: str) -> str:
    path, _, name = spec.partition(":")
    if path.endswith(".py"):
        return f'; did you mean "{path[:-3].replace("/", ".")}:{name or "train"}"?'
    module, dot, name = spec.rpartition(".")
    return f'; did you mean "{module}:{name}"?' if dot and ":" not in spec else ""


def _missing(spec: str, part: str, owner: Any) -> str:
    module = spec.partition(":")[0]
    mine = [
        name
        for name, value in vars(owner).items()
        if callable(value) and not name.startswith("_") and getattr(value, "__module__", module) == module
    ]
    has = f"it has {', '.join(f'`{name}`' for name in mine)}" if mine else "it defines no functions"
    hint = did_you_mean(part, mine)
    return f'"{spec}": `{getattr(owner, "__name__", module)}` has no `{part}`; {has}{f" ({hint})" if hint else ""}'
