"""The learning rate of each step, as the two backends schedule it, and what of it a checkpoint keeps."""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def on_megatron(model: Mapping[str, Any]) -> bool:
    return bool((model.get("megatron_cfg") or {}).get("enabled"))


class Optimizer:
    """Of one model, `policy` or `value`.

    Args:
        model: Its section of the recipe.
        doubled: Whether Megatron's schedule is stretched by two, as DPO and reward models do.
    """

    def __init__(self, model: Mapping[str, Any], doubled: bool = False) -> None:
        self.megatron = on_megatron(model)
        self.ticks = 0
        if self.megatron:
            settings = model["megatron_cfg"]["optimizer"]
            self.weight_decay = settings["weight_decay"]
            times = 2 if doubled else 1
            schedule = model["megatron_cfg"]["scheduler"]
            self.schedule = {k: v * times if "iters" in k and v else v for k, v in schedule.items()}
            self.schedule |= {"min_lr": settings["min_lr"]}
            _check_megatron(settings["lr"], self.schedule)
        else:
            settings = model["optimizer"]["kwargs"]
            self.weight_decay = settings.get("weight_decay", 0.01)
            self.schedule = _in_order(model["scheduler"]) if "scheduler" in model else ([], [])
        if settings["lr"] < 0:  # a text fails here, in the worker, and not before
            raise ValueError(f"Invalid learning rate: {settings['lr']}")
        self.lr = settings["lr"]

    def rate(self) -> float:
        """The learning rate of the step that is trained now."""
        if self.megatron:
            return _megatron_rate(self.lr, self.schedule, self.ticks)
        return self.lr * _factor(*self.schedule, self.ticks)

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"lr": self.lr, "ticks": self.ticks, "schedule": self.schedule}))

    def load(self, path: Path) -> None:
        """Takes the learning rate of the checkpoint; Megatron refuses where the recipe's is another.

        Raises:
            AssertionError: On Megatron, the recipe has changed.
        """
        state = json.loads(path.read_text())
        if self.megatron:
            mine, theirs = {"lr": self.lr, **self.schedule}, {"lr": state["lr"], **state["schedule"]}
            for name, value in mine.items():
                message = f"class input value {value} and checkpointvalue {theirs[name]} for {name} do not match"
                assert value == theirs[name], f"OptimizerParamScheduler: {message}"
        self.lr, self.ticks = state["lr"], state["ticks"]


def _in_order(scheduler: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[int]]:
    """(schedules, where each but the first begins) of a list whose last entry is `milestones`."""
    parts: list[Mapping[str, Any]] = []
    milestones: list[int] = []
    for entry in scheduler:
        if "milestones" in entry:
            milestones = list(entry["milestones"])
        else:
            parts.append(entry)
    return parts, milestones


def _factor(parts: Sequence[Mapping[str, Any]], milestones: Sequence[int], tick: int) -> float:
    """By what the learning rate is multiplied at `tick`; the milestones alone say which part is at work."""
    if not parts:
        return 1.0
    index = min(bisect.bisect_right(milestones, tick), len(parts) - 1)
    since = tick - (milestones[index - 1] if index else 0)
    kind, options = parts[index]["name"].rpartition(".")[2], parts[index].get("kwargs") or {}
    if kind == "LinearLR":
        start, end, total = options.get("start_factor", 1 / 3), options.get("end_factor", 1.0), options["total_iters"]
        return end if since >= total else start + (end - start) * since / total
    if kind == "CosineAnnealingLR":
        return (1 + math.cos(math.pi * min(since, options["T_max"]) / options["T_max"])) / 2
    return options.get("factor", 1.0) if since < options.get("total_iters", math.inf) else 1.0


def _check_megatron(lr: float, schedule: Mapping[str, Any]) -> None:
    assert schedule["min_lr"] >= 0.0, "min_lr must not be negative"
    assert lr >= schedule["min_lr"], f"max_lr ({lr}) must not be below min_lr ({schedule['min_lr']})"
    assert schedule["lr_warmup_init"] <= lr, f"init_lr ({schedule['lr_warmup_init']}) must not be above max_lr ({lr})"
    decay = schedule.get("lr_decay_iters")
    assert decay is None or schedule["lr_warmup_iters"] < decay, "lr_warmup_steps must be below lr_decay_steps"


def _megatron_rate(lr: float, schedule: Mapping[str, Any], tick: int) -> float:
    warmup, decay = schedule["lr_warmup_iters"], schedule.get("lr_decay_iters")
    if tick < warmup:
        return schedule["lr_warmup_init"] + (lr - schedule["lr_warmup_init"]) * tick / warmup
    style = schedule["lr_decay_style"]
    if style == "constant" or decay is None:
        return lr
    done = min(1.0, (tick - warmup) / (decay - warmup))
    left = 1 - done if style == "linear" else (1 + math.cos(math.pi * done)) / 2
    return schedule["min_lr"] + (lr - schedule["min_lr"]) * left
