from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rltune.errors import TrainerError
from rltune.trainers.nemo_rl.grammar import override

pytest.importorskip("hydra", reason="Hydra's own parser reads the words back")

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12) | st.text(
    "ab1.e-+ '\"\\=,:#{}[]()@%|?\t\n~", max_size=8
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
keys = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_.-]{0,8}\Z").filter(
    lambda key: key.lower() not in {"true", "false", "null", "nan", "inf"}
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))


def parsed(word: str) -> Any:
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(word)


def same(a: Any, b: Any) -> bool:
    """Equal in value and type, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@example("\\\n")
@given(values)
def test_hydra_reads_back_every_value_with_its_type(value: Any) -> None:
    found = parsed(override("a.b", value))
    assert not found.is_sweep_override()
    assert same(found.value(), value)


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("policy.optimizer.kwargs.lr", 1e-5, "policy.optimizer.kwargs.lr=1.0e-05"),
        ("grpo.num_prompts_per_step", 16, "grpo.num_prompts_per_step=16"),
        ("policy.scheduler.0.kwargs.total_iters", 5, "policy.scheduler.0.kwargs.total_iters=5"),
        ("policy.scheduler.2.milestones", [5], "policy.scheduler.2.milestones=[5]"),
        ("checkpointing.checkpoint_dir", "/tmp/lr=1e-5", "checkpointing.checkpoint_dir='/tmp/lr=1e-5'"),
        ("logger.wandb.name", "123", "logger.wandb.name='123'"),
        ("policy.generation.top_k", None, "policy.generation.top_k=null"),
        ("policy.dtensor_cfg", {"enabled": False}, "policy.dtensor_cfg={enabled: false}"),
    ],
)
def test_words(key: str, value: Any, word: str) -> None:
    assert override(key, value) == word
    assert parsed(word).key_or_group == key


def test_a_key_that_the_recipe_lacks() -> None:
    word = override("logger.wandb.group", "study", new=True)
    assert word == "++logger.wandb.group=study"
    assert parsed(word).is_force_add()


def test_an_interpolation_stays_one() -> None:
    text = "${mul:${grpo.num_prompts_per_step},${grpo.num_generations_per_prompt}}"
    assert parsed(override("policy.train_global_batch_size", text)).value() == text


def test_nan_is_a_number() -> None:
    assert math.isnan(parsed(override("a", math.nan)).value())


@pytest.mark.parametrize("key", ["", "a..b", "scheduler[0]", "a b", "a=b", "a/b", "0", "a.007", "a@b", "ä"])
def test_keys_that_hydra_cannot_read(key: str) -> None:
    with pytest.raises(TrainerError, match="cannot be set on NeMo RL's command line"):
        override(key, 1)


@pytest.mark.parametrize("key", ["true", "Null", "1", "a b", "a:b", ""])
def test_keys_in_a_value_that_would_become_something_else(key: str) -> None:
    with pytest.raises(TrainerError, match=r"`data\.0` cannot be set .* needs quotes"):
        override("data", [{key: 1}])
