"""The row that scores highest: many draws, then steps from the best of them, wide at first and narrow in the end.

It needs no gradient, so numbers, choices and conditions are all one; what breaks a constraint is not stepped on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.random import Generator

from rltune.samplers.auto.encode import Columns
from rltune.samplers.auto.kernel import Array

DRAWS = 512
STARTS = 6  # climbers
STEPS = 24  # each takes in one round
WIDTHS = (0.2, 0.1, 0.05, 0.02, 0.01, 0.004)
LOOKS = 200  # distinct rows whose constraints are looked at in one round


def climb(
    score: Callable[[Array], Array],
    columns: Columns,
    rng: Generator,
    *,
    near: Array,
    kept: Mapping[int, float],
    allowed: Callable[[Array], bool],
    draws: int = DRAWS,
) -> Array | None:
    """The best row found, shape (d,); None where no row was allowed.

    Args:
        score: Of rows (m, d), shape (m,).
        columns: What the rows mean.
        rng: Its state is advanced.
        near: Rows (k, d) that are known to be good, around which some of the draws lie.
        kept: Places that are decided, by column.
        allowed: Whether one row may be proposed.
        draws: How many rows to begin with, beside those around `near`.
    """
    rows = columns.draw(rng, draws)
    if len(near):
        around = np.repeat(near, -(-draws // (2 * len(near))), axis=0)
        rows = np.vstack([rows, columns.nudge(around, rng, 0.1)])
    rows = columns.tidy(rows, kept)
    top, values = _best(rows, score(rows), allowed, STARTS)
    if not len(top):
        return None
    for width in WIDTHS:
        steps = columns.tidy(columns.nudge(np.repeat(top, STEPS, axis=0), rng, width), kept)
        found = score(steps)
        for i in range(len(top)):
            own = slice(i * STEPS, (i + 1) * STEPS)
            better, better_value = _best(steps[own], found[own], allowed, 1, above=values[i])
            if len(better):
                top[i], values[i] = better[0], better_value[0]
    best: Array = top[int(np.argmax(values))]
    return best


def _best(
    rows: Array, values: Array, allowed: Callable[[Array], bool], count: int, above: float = -np.inf
) -> tuple[Array, Array]:
    """Up to `count` distinct allowed rows with the highest values, above a given one."""
    chosen: list[int] = []
    seen: set[bytes] = set()
    for place in np.argsort(-values, kind="stable"):
        if len(chosen) == count or len(seen) == LOOKS or values[place] <= above:
            break
        key = rows[place].tobytes()
        if key in seen:
            continue
        seen.add(key)
        if allowed(rows[place]):
            chosen.append(int(place))
    return rows[chosen], values[chosen]
