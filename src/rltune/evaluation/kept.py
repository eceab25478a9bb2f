"""Folds that have ended well, in their folders: a trial that was cut short and is asked again need not repeat them."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rltune.folder import TrialDir, read_json, write_json


def keep(folder: TrialDir, metrics: Mapping[str, float], split: str) -> None:
    """Writes a fold's metrics down.

    Args:
        folder: The fold's own.
        metrics: What it measured; strict JSON, so a NaN or an infinity becomes text.
        split: How the data was split, in words that are equal for equal folds.
    """
    rows = {name: value if math.isfinite(value) else str(value) for name, value in metrics.items()}
    write_json(folder.result, {"metrics": rows, "split": split})


def kept(folder: TrialDir, split: str) -> dict[str, float] | None:
    """What `keep` wrote; None where the fold has not ended well, or was split off in another way."""
    row = read_json(folder.result)
    if row is None or row.get("split") != split:
        return None
    return {name: float(value) for name, value in row["metrics"].items()}
