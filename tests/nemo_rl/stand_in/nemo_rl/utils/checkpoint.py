"""Checkpoints: written as `tmp_step_N`, renamed to `step_N` in the background, old ones removed."""

from __future__ import annotations

import json
import math
import re
import shutil
import threading
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel


class CheckpointManager:
    """Writes, ranks and finds the checkpoints of one directory; leaving it as a context waits for what is in flight."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.checkpoint_dir = Path(config["checkpoint_dir"])
        self.metric_name = config["metric_name"]
        self.higher_is_better = config["higher_is_better"]
        self.keep_top_k = config["keep_top_k"]
        self.save_period = config["save_period"]
        self.ft_keep_latest_k = config.get("ft_keep_latest_k")
        self.save_optimizer = config["save_optimizer"]
        self._in_flight: threading.Thread | None = None

    def get_latest_checkpoint_path(self) -> Path | None:
        """The highest `step_N`, also where saving is switched off."""
        return max(self._saved(), default=(0, None))[1]

    def load_training_info(self, checkpoint: Path | None) -> dict[str, Any] | None:
        return None if checkpoint is None else json.loads((checkpoint / "training_info.json").read_text())

    def init_tmp_checkpoint(self, step: int, training_info: Mapping[str, Any], run_config: BaseModel) -> Path:
        folder = self.checkpoint_dir / f"tmp_step_{step}"
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        (folder / "training_info.json").write_text(json.dumps(dict(training_info)))
        with (folder / "config.yaml").open("w") as file:
            yaml.safe_dump(run_config.model_dump(), file)
        return folder

    def begin_finalization(self, checkpoint: Path) -> None:
        self.finalize_pending()
        self._in_flight = threading.Thread(target=self._finalize, args=(checkpoint,), daemon=True)
        self._in_flight.start()

    def finalize_pending(self) -> None:
        if self._in_flight is not None:
            self._in_flight.join()
            self._in_flight = None

    shutdown = finalize_pending

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()

    def _finalize(self, checkpoint: Path) -> None:
        final = checkpoint.with_name(checkpoint.name.removeprefix("tmp_"))
        if final.exists():
            shutil.rmtree(final)
        checkpoint.rename(final)
        self._remove_old()

    def _saved(self) -> list[tuple[int, Path]]:
        folders = ((re.fullmatch(r"step_(\d+)", path.name), path) for path in self.checkpoint_dir.glob("step_*"))
        return sorted((int(match[1]), path) for match, path in folders if match)

    def _remove_old(self) -> None:
        """Keeps the newest, the best `keep_top_k` of the periodic ones, and the `ft_keep_latest_k` newest."""
        saved = self._saved()
        kept = {step for step, _ in saved[-max(1, self.ft_keep_latest_k or 1) :]}
        periodic = [(step, path) for step, path in saved if step % self.save_period == 0]
        best = sorted(periodic, key=lambda entry: (self._rank(entry[1]), entry[0]), reverse=True)
        kept.update(step for step, _ in best[: self.keep_top_k])
        for step, path in saved:
            if step not in kept:
                print(f"Removing checkpoint {path} (step {step})")
                shutil.rmtree(path)

    def _rank(self, checkpoint: Path) -> float:
        if self.metric_name is None:
            return 0.0
        value = (self.load_training_info(checkpoint) or {}).get(self.metric_name)
        return -math.inf if value is None else value if self.higher_is_better else -value


def resume_paths(checkpoint: Path | None, component: str = "policy") -> tuple[Path | None, Path | None]:
    """(weights, optimizer) of a checkpoint; Megatron's optimizer lies inside the weights."""
    if checkpoint is None:
        return None, None
    weights, optimizer = checkpoint / component / "weights", checkpoint / component / "optimizer"
    if optimizer.exists():
        return weights, optimizer
    if (weights / "iter_0000000" / "common.pt").exists():
        return weights, weights / "iter_0000000" / "common.pt"
    warnings.warn(f"Optimizer state not found at {optimizer}. Optimizer will be freshly initialized.", stacklevel=2)
    return weights, None
