"""What is compared, by name.

::

    tpe  tpe-univariate  gp  cmaes  qmc  random   Optuna's
    auto                                          rltune.AutoSampler(), in a plain Optuna study
    rltune.NAME                                   as `algorithm: NAME` in a study file: rltune.samplers.make_sampler
    module:factory                                any class or function that gives an Optuna sampler
    SAMPLER+rltune                                the same search, with the recommendation of rltune's Gaussian process
    SAMPLER+module:function                       with another recommendation
    SAMPLER/STOPPER                               suite curves only

A stopper is none, asha, hyperband or median (Optuna's), rltune.NAME (rltune.pruners.make_pruner), or module:factory.

Factories, stoppers and recommendations get those of these by keyword that their signature names: `space` (a
`rltune.space.SearchSpace`), `seed`, `n_objectives`, `prior` (suite prior: by parameter, the mean and standard
deviation in the unit interval, or None), `n_steps` (stoppers), `study`, `trials` (those that have a value),
`configurations`, `values` (recommendations). A recommendation is an index into `trials`, or something with such an
`index`, or a tuple that begins with one. A sampler that has `recommend` needs no name after a plus sign.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler

import rltune
from rltune.pruners import make_pruner
from rltune.registry import parameters_of
from rltune.samplers import make_sampler
from rltune.space import SearchSpace

Prior: TypeAlias = Mapping[str, tuple[float, float]]

PEERS = ("tpe", "tpe-univariate", "gp", "cmaes", "qmc", "random")

PEER_STOPPERS = ("none", "asha", "hyperband", "median")

OURS = "rltune.samplers.auto.recommend:recommend"

BASELINE = "tpe"
"""What the others are compared with."""


@dataclass(frozen=True)
class Arm:
    """A sampler, and perhaps a stopper.

    Attributes:
        version: Changes with the code behind it.
        note: What a reader of the figures must know.
    """

    name: str
    version: str
    note: str
    _make: Callable[..., BaseSampler]
    _recommend: Callable[..., Any] | None
    _stop: Callable[..., BasePruner] | None

    def sampler(self, space: SearchSpace, seed: int, prior: Prior | None = None) -> BaseSampler:
        """A fresh one."""
        with quiet():
            sampler: BaseSampler = _call(self._make, space=space, seed=seed, n_objectives=1, prior=prior)
        return sampler

    def stopper(self, n_steps: int, seed: int) -> BasePruner:
        """A fresh one."""
        if self._stop is None:
            return optuna.pruners.NopPruner()
        with quiet():
            pruner: BasePruner = _call(self._stop, n_steps=n_steps, seed=seed)
        return pruner

    def recommend(self, sampler: BaseSampler, study: optuna.Study, space: SearchSpace) -> int | None:
        """The number of the trial that this arm would ship; None where it has no opinion."""
        recommend = self._recommend or getattr(sampler, "recommend", None)
        trials = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
        if recommend is None or not trials:
            return None
        with quiet():
            answer = _call(
                recommend,
                space=space,
                seed=0,
                study=study,
                trials=trials,
                configurations=[space.resolve(trial.params) for trial in trials],
                values=[trial.value for trial in trials],
            )
        if isinstance(answer, tuple):
            answer = answer[0]
        return trials[int(getattr(answer, "index", answer))].number


@functools.cache
def get(name: str) -> Arm:
    """The arm of that name, always the same one, so that code edited meanwhile cannot pass for what was loaded.

    Raises:
        SystemExit: It cannot be found; the message says what there is.
    """
    searched, _, stopper = name.partition("/")
    sampler, _, recommendation = searched.partition("+")
    make, note = _sampler(sampler)
    recommend = _load(OURS if recommendation == "rltune" else recommendation) if recommendation else None
    stop = _stopper(stopper) if stopper else None
    theirs = sampler in PEERS and stopper in ("", *PEER_STOPPERS) and not recommendation
    return Arm(name, _version(() if theirs else (make, recommend, stop)), note, make, recommend, stop)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of Optuna, which come at every trial."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


# --- by name ---------------------------------------------------------------------------------------------------------


def _sampler(name: str) -> tuple[Callable[..., BaseSampler], str]:
    """What makes it, and a note."""
    from optuna.samplers import CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

    peers: Mapping[str, Callable[..., BaseSampler]] = {  # a parameter with a condition is drawn alone, without a word
        "tpe": TPESampler,
        "tpe-univariate": functools.partial(TPESampler, multivariate=False),
        "gp": functools.partial(GPSampler, warn_independent_sampling=False),
        "cmaes": functools.partial(CmaEsSampler, warn_independent_sampling=False),
        "qmc": lambda seed: QMCSampler(
            scramble=True, seed=seed, warn_asynchronous_seeding=False, warn_independent_sampling=False
        ),
        "random": RandomSampler,
    }
    if name in peers:
        return peers[name], ""
    if name == "auto":
        try:
            return rltune.AutoSampler, ""
        except (AttributeError, ImportError):
            return functools.partial(make_sampler, "auto"), "there is no rltune.AutoSampler: this is `algorithm: auto`"
    if name.startswith("rltune.") and ":" not in name:
        return functools.partial(make_sampler, name.removeprefix("rltune.")), ""
    return _load(name), ""


def _stopper(name: str) -> Callable[..., BasePruner] | None:
    """Rungs begin at a 27th of a training, as in the usual three halvings by 3."""
    pruners = optuna.pruners
    known: Mapping[str, Callable[..., BasePruner] | None] = {
        "none": None,
        "asha": lambda n_steps: pruners.SuccessiveHalvingPruner(min_resource=_first(n_steps), reduction_factor=3),
        "hyperband": lambda n_steps: pruners.HyperbandPruner(_first(n_steps), n_steps, reduction_factor=3),
        "median": lambda n_steps: pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=_first(n_steps)),
        "rltune.asha": lambda n_steps: make_pruner("asha", {"grace_period": _first(n_steps)}),  # by 4
    }
    if name in known:
        return known[name]
    if name.startswith("rltune.") and ":" not in name:
        return functools.partial(make_pruner, name.removeprefix("rltune."))
    return _load(name)


def _first(n_steps: int) -> int:
    return max(1, n_steps // 27)


def _load(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    try:
        part: Callable[..., Any] = operator.attrgetter(attribute)(importlib.import_module(module))
        return part
    except (ImportError, AttributeError, ValueError) as error:
        raise SystemExit(f"there is no arm {name!r}: {error}\n{__doc__}") from error


def _call(part: Callable[..., Any], **given: Any) -> Any:
    accepted = parameters_of(part)
    return part(**{key: value for key, value in given.items() if key in accepted})


# --- versions --------------------------------------------------------------------------------------------------------


def _version(ours: Sequence[Any]) -> str:
    """Of Optuna; where a part is not Optuna's, also a digest of its own file and of all that rltune suggests by."""
    versions = [f"{name} {_installed(name)}" for name in ("optuna", "cmaes")]
    if ours:
        home = Path(rltune.__file__).parent
        paths = {path for name in ("samplers", "pruners", "space") for path in (home / name).rglob("*.py")}
        modules = [inspect.getmodule(part.func if isinstance(part, functools.partial) else part) for part in ours]
        paths |= {Path(module.__file__) for module in modules if module is not None and module.__file__}
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(paths))).hexdigest()[:12]
        versions.append(f"code {digest}")
    return ", ".join(versions)


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
