"""A Python function as the trainer: `train(config)`, or with any of `trial`, `fold`, `n_folds` and `seed` besides."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from rltune.errors import Problem, TrainerError
from rltune.folder import TrialDir
from rltune.trainers.config_text import did_you_mean, merged, unknown_keys, yaml_text
from rltune.trainers.context import Trial, running, split_row
from rltune.types import Report, Suggestion
from rltune.worker import as_metrics, as_number

Function: TypeAlias = Callable[..., Any]

_KNOWN = ("trial", "fold", "n_folds", "seed")
_ALLOWED = (
    "allowed: train(config), and after it any of the parameters `trial`, `fold`, `n_folds`, `seed`, by these names"
)


class FunctionTrainer:
    """Calls a Python function with the configuration of one trial.

    The function gets the base config merged with the trial's parameters, a fresh deep copy each time. It may report
    on the way (`Trial.report`, `rltune.report`, or by yielding mappings) and returns a number (the first objective),
    a tuple (the objectives in order), a mapping of metrics, or None. An `async` function is run to its end.

    Args:
        function: A callable, or ``"package.module:name"``, which is imported in the trial's own process.
        base_config: What the function needs beyond the parameters.
        metric_names: The objectives' names, for results that are bare numbers.
        search_path: The folder that modules are looked for first: that of the study file.

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
    ) -> None:
        if not (callable(function) or isinstance(function, str)):
            raise TrainerError(f'a function must be callable or "package.module:name", got {function!r:.80}')
        self._function: Function | str | bytes = function
        self.base_config = base_config
        self.metric_names = tuple(metric_names)
        self.search_path = search_path

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
        with running(trial):
            returned = function(config, **_extras(function, trial))
            if inspect.isawaitable(returned):
                returned = asyncio.run(_awaited(returned))
            if inspect.isgenerator(returned):
                returned = self._exhaust(returned, trial)
        return self._metrics(returned)

    def load(self) -> Function:
        """The function itself, and beside it what every trial needs: forked processes share it.

        Raises:
            TrainerError: It cannot be imported.
        """
        yaml_text({})  # loads its library

        if isinstance(self._function, str):
            return load_function(self._function, self.search_path)
        if not isinstance(self._function, bytes):
            return self._function
        import cloudpickle

        _put_first(self.search_path)
        try:
            self._function = cloudpickle.loads(self._function)
        except Exception as error:
            raise TrainerError(f"the function did not reach its process: {type(error).__name__}: {error}") from error
        return self.load()

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
        if needs_folds and not {"fold", "trial"} & set(_recognised(function)):
            message = f"cross-validation runs the function once per fold, but {_described(function)} takes no `fold`"
            return [Problem(place, message, "write train(config, fold), or turn cross_validation off"), *unknown]
        return unknown

    def __getstate__(self) -> dict[str, Any]:
        """Lambdas, closures and functions of a script or a notebook travel by value, read where they run."""
        state = self.__dict__ | {"_path": list(sys.path)}
        if callable(self._function):
            import cloudpickle

            state["_function"] = cloudpickle.dumps(self._function)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        sys.path += [entry for entry in state.pop("_path") if entry not in sys.path]
        self.__dict__.update(state)

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


def load_function(spec: str, search_path: Path | None = None) -> Function:
    """Import ``"package.module:name"``; the name may be dotted.

    Args:
        spec: The module, a colon, and a name in it.
        search_path: A folder that goes to the front of Python's path, for good.

    Raises:
        TrainerError: The text has another form; the module is missing or fails; it has no such name.
    """
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


def _extras(function: Function, trial: Trial) -> dict[str, Any]:
    given = {"trial": trial, "fold": trial.fold, "n_folds": trial.n_folds, "seed": trial.seed}
    return {name: given[name] for name in _recognised(function)}


def _described(function: Function) -> str:
    name = getattr(function, "__qualname__", None) or repr(function)
    try:
        return f"{name}{inspect.signature(function)}"
    except (TypeError, ValueError):
        return name


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def _import(name: str, search_path: Path | None) -> ModuleType:
    _put_first(search_path)
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


def _put_first(search_path: Path | None) -> None:
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
