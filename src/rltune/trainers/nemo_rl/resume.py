"""Going on from a checkpoint of NeMo RL: what has to stay as it was, so that the run is the one that was begun.

An optimizer's saved state brings its learning rate and its schedule with it. On DTensor a changed learning rate is
ignored without a word; on Megatron it ends the run. So a schedule is fixed when a run begins, from then on only
`max_num_steps` may change, and only upwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rltune.errors import TrainerError
from rltune.trainers.nemo_rl.isolation import step_of
from rltune.trainers.nemo_rl.readback import mismatches, read_saved
from rltune.trainers.nemo_rl.recipe import Algorithm, Backend, Recipe

_MODELS = ("policy", "value")
"""The sections of models that are trained; `value` is PPO's critic."""


def steps_key(recipe: Recipe) -> str:
    """The key that says after how many steps a run ends."""
    return f"{recipe.algorithm}.max_num_steps"


def doubles_iterations(recipe: Recipe, key: str) -> bool:
    """Whether NeMo RL itself doubles the value at `key`: DPO and reward models on Megatron see pairs."""
    pairs = recipe.algorithm in (Algorithm.DPO, Algorithm.RM) and recipe.backend is Backend.MEGATRON
    return pairs and ".megatron_cfg.scheduler." in key and "iters" in key


def first_schedule(recipe: Recipe) -> dict[str, Any]:
    """What has to be set at the start of a run so that it may be prolonged: Megatron's decay, where it follows the end.

    Args:
        recipe: With everything else of the trial set in it.
    """
    horizon = recipe.get(steps_key(recipe))
    return {} if not isinstance(horizon, int) or horizon < 1 else dict.fromkeys(_open_decays(recipe), horizon)


def resumed_schedule(recipe: Recipe, checkpoint: Path) -> dict[str, Any]:
    """What has to be set to go on from `checkpoint` with the schedule that it was begun with.

    Args:
        recipe: With everything else of the trial set in it.
        checkpoint: A folder `step_N`.

    Raises:
        TrainerError: The run cannot go on as this recipe says; the message says which keys are in the way.
    """
    try:
        saved = read_saved(checkpoint / "config.yaml")
    except ValueError as error:
        raise TrainerError(f"cannot resume from {checkpoint}: its config.yaml cannot be read ({error})") from error
    key = steps_key(recipe)
    begun, asked = _number(saved, key), recipe.get(key)
    step = step_of(checkpoint) or 0
    if isinstance(asked, int) and asked > 0 and asked < max(begun, step):
        raise TrainerError(
            f"cannot resume from {checkpoint}: `{key}` is {asked}, and the run was begun with {begun} steps and has "
            f"taken {step}; a run may only be prolonged, so raise `trainer.horizon`"
        )
    if recipe.backend is Backend.DTENSOR and not (checkpoint / "policy" / "optimizer").exists():
        return {}  # weights alone: the optimizer and its schedule begin anew
    pinned = first_schedule(recipe) | dict(_follows_the_end(recipe, saved, moved=asked != begun))
    held = {name: value for name, value in recipe.leaves().items() if _is_state(recipe, name) and name not in pinned}
    wrong = [m for m in mismatches(held, saved) if not doubles_iterations(recipe, m.key)]
    if wrong:
        lines = "\n".join(f"{m}, and the optimizer's saved state was made with that" for m in wrong)
        raise TrainerError(
            f"cannot resume from {checkpoint}: NeMo RL would ignore the change or end the run\n{lines}\n"
            "start a new run, or remove policy/optimizer from a copy of the checkpoint to keep the weights alone"
        )
    return pinned


def _follows_the_end(recipe: Recipe, saved: Any, *, moved: bool) -> Iterator[tuple[str, Any]]:
    """Keys of a schedule that would move with `max_num_steps`, with the values that they were begun with."""
    keys = [k for k in recipe.leaves() if _is_state(recipe, k) and recipe.follows(k, steps_key(recipe))]
    for key in [*keys, *_open_decays(recipe)]:
        if not doubles_iterations(recipe, key):
            if (value := _number(saved, key)) > 0:
                yield key, value
        elif moved:
            raise TrainerError(
                f"a run of {recipe.algorithm} on Megatron cannot be prolonged while `{key}` follows its end; "
                "set it to a number of steps in trainer.nemo_rl.overrides from the first run on"
            )


def _open_decays(recipe: Recipe) -> list[str]:
    """Megatron's `lr_decay_iters: null` means the end of the run, wherever that is moved to."""
    keys = [f"{model}.megatron_cfg.scheduler.lr_decay_iters" for model in _MODELS]
    on = recipe.backend is Backend.MEGATRON
    return [key for key in keys if on and recipe.has(key) and recipe.get(key) is None]


def _is_state(recipe: Recipe, key: str) -> bool:
    """Whether a checkpoint's optimizer state holds the value at `key`."""
    inside = ".megatron_cfg" if recipe.backend is Backend.MEGATRON else ""
    return key.startswith(tuple(f"{m}{inside}.{part}." for m in _MODELS for part in ("optimizer", "scheduler")))


def _number(saved: Any, key: str) -> int:
    for part in key.split("."):
        if isinstance(saved, list) and part.isdecimal() and int(part) < len(saved):
            saved = saved[int(part)]
        else:
            saved = saved.get(part) if isinstance(saved, dict) else None
    return int(saved) if isinstance(saved, int | float) else 0
