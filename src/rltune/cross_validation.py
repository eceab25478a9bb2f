"""One configuration cross-validated here and now: the guide's function, without a study, a folder or a process."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypedDict

import numpy as np

from rltune.errors import InputError, Problem
from rltune.evaluation.splits import SplitKind, Splits
from rltune.objective import measured
from rltune.wording import listed
from rltune.worker import as_metrics, as_number

_GIVEN = ("train_idx", "val_idx", "fold", "n_folds", "repeat", "seed")
_EXAMPLE = "as in train(config, train_idx, val_idx) or train(config, fold, n_folds)"


class CrossValidation(TypedDict):
    """What a configuration scored.

    Attributes:
        mean_score: The mean over all folds.
        std_score: Their standard deviation, with n and not n - 1 (`numpy.std`), as in the guide.
        scores: One for each fold, in order; with repeats, those of the first repeat come first.
        n_splits: How many folds in one repeat.
    """

    mean_score: float
    std_score: float
    scores: list[float]
    n_splits: int


def cross_validate_hyperparameters(
    config: Mapping[str, Any],
    n_splits: int = 5,
    *,
    train: Callable[..., Any],
    data: Any = None,
    kind: SplitKind = "kfold",
    repeats: int = 1,
    seed: int = 42,
    metric: str | None = None,
    verbose: bool = True,
) -> CrossValidation:
    """Trains one configuration once for each fold, in this process, and says how well it did.

    ::

        def train(config, train_idx, val_idx):
            model = fit(config, X[train_idx], y[train_idx])
            return model.loss(X[val_idx], y[val_idx])


        cross_validate_hyperparameters({"learning_rate": 1e-3}, train=train, data=(X, y), kind="stratified")

    Args:
        config: What `train` is given first, a fresh copy for each fold.
        n_splits: How many folds.
        train: Called as `train(config, ...)` with any of `train_idx`, `val_idx`, `fold` (from 0), `n_folds`, `repeat`
            (from 0) and `seed` besides, by these names. Returns a score, or a mapping of metrics.
        data: What is split, in a form of `rltune.evaluation.splits`: X, `(X, y)`, `(X, y, groups)`, or how many samples
            there are. None where `train` splits its data itself, by `fold`.
        kind: Which samples may be validated together.
        repeats: How many times the data is split, each time with another shuffle.
        seed: Of the shuffle, and what `train` is given as `seed`.
        metric: Which metric is the score, where `train` returns more than one.
        verbose: Whether each fold's score is printed when it is known.

    Raises:
        InputError: The arguments do not fit together, or the metric was not measured; the message says what is allowed.
        TrainerError: `train` returned something that is no number.
    """
    splits = _splits(kind, n_splits, repeats, seed)
    taken = _taken(train)
    if problems := list(_misfits(taken, data, splits)):
        raise InputError(problems)
    scores: list[float] = []
    for repeat in range(repeats):
        for fold in range(n_splits):
            given: dict[str, Any] = {"fold": fold, "n_folds": n_splits, "repeat": repeat, "seed": seed}
            if data is not None:
                given["train_idx"], given["val_idx"] = splits.indices(data, fold, repeat)
            label = f"Fold {fold + 1}" if repeats == 1 else f"Repeat {repeat + 1}, fold {fold + 1}"
            try:
                returned = train(copy.deepcopy(config), **{name: given[name] for name in taken if name in given})
                scores.append(_score(returned, metric))
            except Exception as error:
                error.add_note(f"in {label.lower()} of {n_splits}")
                raise
            if verbose:
                print(f"{label}: {scores[-1]:.4f}", flush=True)
    with np.errstate(all="ignore"):  # infinite scores are facts
        mean, std = float(np.mean(scores)), float(np.std(scores))
    return {"mean_score": mean, "std_score": std, "scores": scores, "n_splits": n_splits}


def _splits(kind: SplitKind, n_splits: int, repeats: int, seed: int) -> Splits:
    try:
        return Splits(kind, n_splits, repeats, seed)
    except InputError as error:  # says what is wrong by the names of `Splits`
        renamed = [replace(p, key=("n_splits",)) if p.key == ("n_folds",) else p for p in error.problems]
        raise InputError(renamed) from None


def _taken(train: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Which of the things that it can be given `train` takes.

    Raises:
        InputError: It cannot be called with them.
    """
    if not callable(train):
        raise InputError([Problem(("train",), f"must be a function, got {train!r:.80}", _EXAMPLE)])
    parameters = [p for p in inspect.signature(train).parameters.values() if p.kind is not p.VAR_KEYWORD]
    if not parameters or parameters[0].kind is parameters[0].KEYWORD_ONLY or parameters[0].name in _GIVEN:
        raise InputError([Problem(("train",), "takes no config as its first parameter", _EXAMPLE)])
    named = {p.name: p for p in parameters[1:] if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    taken = {name: p for name, p in named.items() if name in _GIVEN}
    unknown = [
        p.name
        for p in parameters[1:]
        if p.name not in taken and p.default is p.empty and p.kind is not p.VAR_POSITIONAL
    ]
    if unknown:
        message = f"nothing is known to pass as {listed(unknown)}; allowed after the config: {listed(_GIVEN)}"
        raise InputError([Problem(("train",), message, _EXAMPLE)])
    return taken


def _misfits(taken: Mapping[str, inspect.Parameter], data: Any, splits: Splits) -> Iterator[Problem]:
    """Arguments that would do nothing, and whatever else would leave all folds the same."""
    by_index = [name for name in ("train_idx", "val_idx") if name in taken]
    if data is not None:
        if not by_index:
            yield Problem(("data",), "does nothing, since `train` takes neither train_idx nor val_idx", _EXAMPLE)
        return
    needed = [name for name in by_index if taken[name].default is inspect.Parameter.empty]
    if needed:
        yield Problem(
            ("data",), f"is missing, and `train` takes {listed(needed)}", "give X, (X, y) or a number of samples"
        )
    elif "fold" not in taken:
        yield Problem(("train",), "takes neither fold nor train_idx, so that all folds would be the same", _EXAMPLE)
    if splits.kind != "kfold":
        yield Problem(("kind",), f"does nothing without data, got {splits.kind}", "give data, or remove it")
    if splits.repeats > 1 and "repeat" not in taken:
        message = "would train the same folds again: without data, `train` has to take repeat"
        yield Problem(("repeats",), message, "give data, or write train(config, fold, repeat)")


def _score(returned: Any, metric: str | None) -> float:
    """The one number that counts among what `train` returned.

    Raises:
        InputError: The metric is not there, or several are and none is named.
        TrainerError: Something that is no number.
    """
    if not isinstance(returned, Mapping):
        return as_number(metric or "score", returned)
    metrics = as_metrics(returned)
    if metric is None and len(metrics) != 1:
        message = f"must say which of the metrics counts: `train` returned {listed(metrics) or 'an empty mapping'}"
        raise InputError([Problem(("metric",), message)])
    return measured(metrics, metric or next(iter(metrics)))
