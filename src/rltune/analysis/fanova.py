"""fANOVA's shares of single parameters, from a forest of scikit-learn's (Hutter, Hoos and Leyton-Brown 2014, ICML).

Optuna has them too, and these are its numbers (a test holds them together). Its own search through each tree, once for
every stretch between two splits, takes half a minute for a thousand trials of ten parameters. Here a tree is the list
of its leaves' boxes, all at once: 0.2 s. So importance rests on all trials, however many there are.

A tree is a function f on the unit cube that is constant on boxes. With parameter j in the columns S, its marginal f_S
is the mean of f over all other columns, and its share is Var f_S / Var f, all of it under the uniform law.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestRegressor

Floats = NDArray[np.float64]


class _Leaves(NamedTuple):
    """A tree, one row a leaf: its box, of which each side is at most 1, and the value there.

    Attributes:
        lower, upper: (leaves, columns).
        value: (leaves,).
    """

    lower: Floats
    upper: Floats
    value: Floats


def shares(forest: RandomForestRegressor, columns: Sequence[Sequence[int]]) -> list[float]:
    """How much of the variance each parameter explains alone, as a mean over the trees; 0 where no tree varies.

    Args:
        forest: Fitted on columns in the unit interval.
        columns: Those of each parameter: one of a number, one a choice of a choice.
    """
    found = []
    for estimator in forest.estimators_:
        leaves = _leaves(estimator.tree_)
        size = leaves.upper - leaves.lower
        weight = size.prod(axis=1)
        mean = weight @ leaves.value
        variance = weight @ (leaves.value - mean) ** 2
        if variance > 0:
            found.append([_marginal_variance(leaves, size, list(each), mean) / variance for each in columns])
    return np.mean(found, axis=0).tolist() if found else [0.0] * len(columns)


def _leaves(tree: Any) -> _Leaves:
    """From scikit-learn's arrays, where a child always comes after its parent."""
    n, d = tree.node_count, tree.n_features
    lower, upper = np.zeros((n, d)), np.ones((n, d))
    feature, left, right, threshold = tree.feature, tree.children_left, tree.children_right, tree.threshold
    for node in np.flatnonzero(feature >= 0):
        for child in (left[node], right[node]):
            lower[child], upper[child] = lower[node], upper[node]
        upper[left[node], feature[node]] = lower[right[node], feature[node]] = threshold[node]
    ends = feature < 0
    return _Leaves(lower[ends], upper[ends], tree.value[ends].reshape(-1))


def _marginal_variance(leaves: _Leaves, size: Floats, columns: list[int], mean: float) -> float:
    others = np.delete(size, columns, axis=1).prod(axis=1) * (leaves.value - mean)
    if len(columns) > 1:
        return _of_choices(leaves.lower[:, columns], leaves.upper[:, columns], others)
    lower, upper = leaves.lower[:, columns[0]], leaves.upper[:, columns[0]]
    edges = np.unique(np.concatenate([lower, upper]))
    steps = np.zeros(len(edges))  # by how much the marginal rises at each edge
    np.add.at(steps, np.searchsorted(edges, lower), others)
    np.add.at(steps, np.searchsorted(edges, upper), -others)
    return float(np.diff(edges) @ np.cumsum(steps)[:-1] ** 2)


def _of_choices(lower: Floats, upper: Floats, others: Floats) -> float:
    """E f_S² is a sum over pairs of boxes, each weighted by what the two share; of few choices few boxes differ."""
    boxes, which = np.unique(np.hstack([lower, upper]), axis=0, return_inverse=True)
    height = np.bincount(which.reshape(-1), weights=others)
    lower, upper = np.hsplit(boxes, 2)
    shared = np.ones((len(boxes), len(boxes)))
    for low, high in zip(lower.T, upper.T, strict=True):
        shared *= np.maximum(np.minimum.outer(high, high) - np.maximum.outer(low, low), 0.0)
    return float(height @ shared @ height)
