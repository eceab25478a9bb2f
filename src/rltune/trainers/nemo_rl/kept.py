"""A recipe as a study's folder keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rltune.trainers.nemo_rl.recipe import Algorithm, Backend, Recipe


def kept_recipe(path: str, values: Mapping[str, Any]) -> Recipe:
    """A recipe that was resolved: nothing in it follows anything, so each key is set by itself.

    Args:
        path: The file that it was.
        values: Its values, nested.
    """
    policy = values["policy"]
    megatron = bool((policy.get("megatron_cfg") or {}).get("enabled"))
    adapters = policy["megatron_cfg"].get("peft") if megatron else (policy.get("dtensor_cfg") or {}).get("lora_cfg")
    return Recipe(
        path=Path(path),
        root=Path(path).parent,
        algorithm=next(algorithm for algorithm in Algorithm if algorithm in values),
        backend=Backend.MEGATRON if megatron else Backend.DTENSOR,
        lora=bool((adapters or {}).get("enabled")),
        values=values,
        composed=values,
    )
