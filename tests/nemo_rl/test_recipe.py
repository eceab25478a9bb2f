"""Recipes read as NeMo RL reads them: inheritance, overrides, interpolation, and what is wrong in plain words."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rltune.errors import InputError
from rltune.trainers.nemo_rl.grammar import override
from rltune.trainers.nemo_rl.recipe import Algorithm, Backend, Recipe, find_root, load_recipe

CHECKOUT = os.environ.get("NEMO_RL_ROOT", "")
"""A checkout of NeMo RL, whose example recipes are read where it is given."""

BASE = """\
grpo:
  num_prompts_per_step: 32
  num_generations_per_prompt: 16
  use_dynamic_sampling: false
  seed: 42
  reward_shaping: {enabled: false, stop_properly_penalty_coef: null}
loss_fn: {ratio_clip_min: 0.2, ratio_clip_max: 0.2}
policy:
  model_name: tiny
  tokenizer: {name: "${policy.model_name}"}
  train_global_batch_size: ${mul:${grpo.num_prompts_per_step},${grpo.num_generations_per_prompt}}
  train_micro_batch_size: 4
  logprob_batch_size: ${.train_micro_batch_size}
  max_grad_norm: 1.0
  dtensor_cfg: {enabled: true, lora_cfg: {enabled: false, dim: 8}}
  megatron_cfg:
    enabled: false
    peft: {enabled: false}
    optimizer: {lr: 5e-6, clip_grad: "${policy.max_grad_norm}"}
  optimizer: {name: torch.optim.AdamW, kwargs: {lr: 5.0e-6, eps: 1e-8, betas: [0.9, 0.999]}}
  scheduler:
    - {name: torch.optim.lr_scheduler.LinearLR, kwargs: {total_iters: 50}}
    - {milestones: [50]}
data: {train: {seed: "${grpo.seed}"}}
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def base(tmp_path: Path) -> Recipe:
    return load_recipe(write(tmp_path, "base.yaml", BASE))


def child(folder: Path, text: str, name: str = "child.yaml") -> Recipe:
    write(folder, "base.yaml", BASE)
    return load_recipe(write(folder, name, text))


def refusal(path: Path, **given: Any) -> str:
    with pytest.raises(InputError) as error:
        load_recipe(path, **given)
    return str(error.value)


# -- one file ----------------------------------------------------------------------------------------------------------


def test_a_recipe_says_what_it_trains_and_how(base: Recipe) -> None:
    assert (base.algorithm, base.backend, base.lora) == (Algorithm.GRPO, Backend.DTENSOR, False)
    assert base.get("policy.train_global_batch_size") == 512
    assert base.get("policy.optimizer.kwargs.eps") == 1e-8  # which PyYAML would read as text
    assert base.get("policy.scheduler.0.kwargs.total_iters") == 50
    assert base.get("policy.scheduler.1.milestones") == [50]


@pytest.mark.parametrize("algorithm", list(Algorithm))
def test_the_section_tells_the_algorithm(tmp_path: Path, algorithm: Algorithm) -> None:
    assert load_recipe(write(tmp_path, "r.yaml", f"{algorithm}: {{seed: 1}}\n")).algorithm is algorithm


def test_lora_is_looked_for_where_the_backend_keeps_it(base: Recipe) -> None:
    on = {"policy.megatron_cfg.peft.enabled": True}
    assert not base.with_overrides(on).lora
    megatron = base.with_overrides({"policy.dtensor_cfg.enabled": False, "policy.megatron_cfg.enabled": True})
    assert megatron.backend is Backend.MEGATRON
    assert not megatron.with_overrides({"policy.dtensor_cfg.lora_cfg.enabled": True}).lora
    assert megatron.with_overrides(on).lora


def test_dapo_is_all_three_of_its_changes(base: Recipe) -> None:
    changes = {
        "grpo.use_dynamic_sampling": True,
        "grpo.reward_shaping.enabled": True,
        "loss_fn.ratio_clip_max": 0.28,
    }
    assert base.with_overrides(changes).is_dapo
    for left_out in changes:
        assert not base.with_overrides({k: v for k, v in changes.items() if k != left_out}).is_dapo
    assert not base.with_overrides(changes | {"grpo.reward_shaping.stop_properly_penalty_coef": 0.0}).is_dapo


def test_leaves_go_into_lists_and_every_one_can_be_got(base: Recipe) -> None:
    leaves = base.leaves()
    assert leaves["policy.optimizer.kwargs.betas.1"] == 0.999
    assert leaves["policy.scheduler.1.milestones.0"] == 50
    assert all(base.get(key) == value and base.has(key) for key, value in leaves.items())


def test_null_is_a_value_and_a_mandatory_value_is_none(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, "r.yaml", "sft: {a: null, b: '???', c: '${sft.b}', d: []}\n"))
    assert recipe.has("sft.a")
    assert not recipe.has("sft.b")
    assert recipe.get("sft.b", 7) == 7
    assert recipe.get("sft.c") == "${sft.b}"
    assert recipe.leaves()["sft.d"] == []
    assert recipe.with_overrides({"sft.b": 3}).get("sft.c") == 3


def test_what_only_the_trainer_can_resolve_stays_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECIPE_HOME", raising=False)
    path = write(tmp_path, "r.yaml", "sft: {a: '${oc.env:RECIPE_HOME}/x', b: '${sft.a}', c: '${others:1}', n: 1}\n")
    recipe = load_recipe(path)
    assert recipe.values["sft"] == {"a": "${oc.env:RECIPE_HOME}/x", "b": "${sft.a}", "c": "${others:1}", "n": 1}
    monkeypatch.setenv("RECIPE_HOME", "/data")
    assert load_recipe(path).get("sft.b") == "/data/x"


def test_a_recipe_crosses_to_another_process(base: Recipe) -> None:
    assert pickle.loads(pickle.dumps(base)) == base
    code = (
        "import pickle, sys; recipe = pickle.load(sys.stdin.buffer)\n"
        "print(recipe.with_overrides({'grpo.seed': 7}).get('data.train.seed'))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(base), capture_output=True, check=True)
    assert done.stdout.strip() == b"7"


# -- what follows what -------------------------------------------------------------------------------------------------


def test_what_follows_is_known_before_it_is_resolved(base: Recipe) -> None:
    assert base.raw("policy.logprob_batch_size") == "${.train_micro_batch_size}"
    assert base.follows("policy.logprob_batch_size", "policy.train_micro_batch_size")
    assert base.follows("policy.train_global_batch_size", "grpo.num_generations_per_prompt")
    assert not base.follows("policy.train_global_batch_size", "grpo.seed")
    assert not base.follows("grpo.seed", "data.train.seed")
    assert not base.follows("nowhere", "grpo.seed")


def test_following_goes_through_other_values(tmp_path: Path) -> None:
    text = "sft: {a: 1, b: {c: '${..a}', d: '${.c}'}, e: '${mul:${sft.b.d},2}'}\n"
    recipe = load_recipe(write(tmp_path, "r.yaml", text))
    assert recipe.follows("sft.e", "sft.a")
    assert recipe.get("sft.e") == 2


@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_a_value_follows_just_those_that_change_it(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    recipe = load_recipe(write(tmp_path_factory.mktemp("r"), "base.yaml", BASE))
    leaves = {key: value for key, value in recipe.leaves().items() if type(value) in (int, float)}
    leader = data.draw(st.sampled_from(sorted(leaves)))
    changed = recipe.with_overrides({leader: leaves[leader] * 2}).leaves()
    followers = {key for key in recipe.leaves() if recipe.follows(key, leader)}
    assert {key for key, value in recipe.leaves().items() if changed[key] != value} == followers | {leader}


# -- overrides ---------------------------------------------------------------------------------------------------------


def test_overrides_set_what_is_there_and_what_follows_them_follows(base: Recipe) -> None:
    changed = base.with_overrides(
        {
            "grpo.num_prompts_per_step": 8,
            "policy.optimizer.kwargs.betas.1": 0.95,
            "policy.scheduler.1.milestones": [5],
            "policy.logprob_batch_size": 2,
        }
    )
    assert changed.get("policy.train_global_batch_size") == 8 * 16
    assert changed.get("policy.optimizer.kwargs.betas") == [0.9, 0.95]
    assert changed.get("policy.scheduler.1") == {"milestones": [5]}
    assert changed.get("policy.logprob_batch_size") == 2
    assert base.get("grpo.num_prompts_per_step") == 32


def test_an_override_may_be_an_interpolation_a_mapping_or_new(base: Recipe) -> None:
    changed = base.with_overrides(
        {"loss_fn.ratio_clip_max": "${loss_fn.ratio_clip_min}", "loss_fn": {"ratio_clip_min": 0.1}, "++logger.a.b": 1}
    )
    assert changed.values["loss_fn"] == {"ratio_clip_min": 0.1, "ratio_clip_max": 0.1}
    assert changed.get("logger.a.b") == 1


def test_overrides_follow_one_another(base: Recipe) -> None:
    both = base.with_overrides({"grpo.seed": 1}).with_overrides({"grpo.num_prompts_per_step": 4})
    assert both == base.with_overrides({"grpo.seed": 1, "grpo.num_prompts_per_step": 4})
    assert base.with_overrides({}) is base


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("grpo.num_prompts_per_stp", 1, "grpo.num_prompts_per_stp: the recipe has no such key (did you mean `grpo.num"),
        ("kwargs.lr", 1, "did you mean `policy.optimizer.kwargs.lr` or `policy.megatron_cfg.optimizer.lr`?"),
        ("policy.scheduler.2.milestones", [1], "`policy.scheduler` is a list of 2 items"),
        ("policy.tokenizer.name.x", 1, "`policy.tokenizer.name` follows ${policy.model_name}"),
        ("grpo.reward_shaping.stop_properly_penalty_coef.x", 1, "is null in the recipe"),
        ("loss_fn", {"ratio_clip_mx": 1}, "loss_fn: cannot be set to a mapping: Key 'ratio_clip_mx' is not in struct"),
        ("policy.model_name", "${policy.nothing}", "follows ${policy.nothing}, and there is nothing of that name"),
        ("policy.model_name", "${policy.tokenizer.name}", "Recursive interpolation"),
        ("policy.model_name", "${", "policy.model_name: cannot be set to the text '${'"),
    ],
)
def test_an_override_that_does_not_fit_is_refused(base: Recipe, key: str, value: Any, said: str) -> None:
    with pytest.raises(InputError) as error:
        base.with_overrides({key: value})
    assert said in str(error.value)


def test_every_override_that_does_not_fit_is_named(base: Recipe) -> None:
    with pytest.raises(InputError) as error:
        base.with_overrides({"grpo.x": 1, "grpo.seed": 2, "grpo.y": 3})
    assert [problem.key for problem in error.value.problems] == [("grpo.x",), ("grpo.y",)]


VALUES = st.one_of(
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.text(st.characters(codec="ascii", exclude_characters="$?\\", exclude_categories=["C"]), max_size=20),
    st.lists(st.integers(0, 99), max_size=3),
)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_overrides_do_what_hydra_does_with_them(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    recipe = load_recipe(write(tmp_path_factory.mktemp("r"), "base.yaml", BASE))
    keys = [key for key in recipe.leaves() if "enabled" not in key and "." in key]
    asked = data.draw(st.dictionaries(st.sampled_from(keys), VALUES, max_size=4))
    config = OmegaConf.create(dict(recipe.composed))
    OmegaConf.set_struct(config, True)
    parsed = OverridesParser.create().parse_overrides([override(key, value) for key, value in asked.items()])
    try:
        ConfigLoaderImpl._apply_overrides_to_config(parsed, config)
        theirs = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException:
        with pytest.raises(InputError):
            recipe.with_overrides(asked)
    else:
        assert recipe.with_overrides(asked).values == theirs


# -- inheritance -------------------------------------------------------------------------------------------------------


def test_a_child_wins_and_its_values_lead_what_it_inherits(tmp_path: Path) -> None:
    recipe = child(tmp_path, "defaults: base.yaml\ngrpo: {num_prompts_per_step: 2}\npolicy: {scheduler: [{a: 1}]}\n")
    assert recipe.get("policy.train_global_batch_size") == 32
    assert recipe.get("policy.scheduler") == [{"a": 1}]
    assert recipe.get("grpo.seed") == 42
    assert not recipe.has("defaults")


def test_later_parents_win_and_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "sft: {x: 1, y: 1, z: 1}\n")
    write(tmp_path, "deep/b.yaml", "defaults: ../a.yaml\nsft: {y: 2, z: 2}\n")
    write(tmp_path, "deep/c.yaml", "sft: {z: 3}\n")
    path = write(tmp_path, "r.yaml", f"defaults: [deep/b.yaml, {tmp_path}/deep/c.yaml]\nsft: {{w: 4}}\n")
    assert load_recipe(path).values == {"sft": {"x": 1, "y": 2, "z": 3, "w": 4}}


def test_a_section_can_take_the_place_of_what_it_inherits(tmp_path: Path) -> None:
    recipe = child(tmp_path, "defaults: base.yaml\ndata: {_override_: true, train: {name: mine}}\n")
    assert recipe.values["data"] == {"train": {"name": "mine"}}


def test_a_mandatory_value_may_come_from_a_child(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "sft: {x: '???'}\npath: ???\n")
    recipe = load_recipe(write(tmp_path, "r.yaml", "defaults: a.yaml\nsft: {x: 1}\n"))
    assert recipe.values == {"sft": {"x": 1}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sft: 1\n\ndefaults: nowhere.yaml\n", "r.yaml:3: {folder}/nowhere.yaml cannot be read: No such file"),
        (
            "sft: 1\ndefaults: {base: x}\n",
            "r.yaml:2: `defaults` must name a YAML file or a list of them, got a mapping",
        ),
        ("sft: 1\ndefaults: r.yaml\n", "r.yaml:2: inherits from itself by way of {folder}/r.yaml"),
        ("sft:\n  a: 1\n b: 2\n", "r.yaml:3: is not YAML"),
        ("sft:\n  a: 1\n  a: 2\n", "r.yaml:3: is not YAML: found duplicate key a"),
        ("- 1\n", "r.yaml:1: must hold a mapping, got a list"),
        ("model: 1\n", "r.yaml: is no recipe that trains: it has none of the sections `grpo`, `ppo`, `dpo`, `sft`"),
        ("sft: {a: 1}\ngrpo: {a: 1}\n", "r.yaml: has sections of several algorithms: `grpo`, `sft`"),
        ("sft: {a: '${sft.b}'}\n", "r.yaml: sft.a: follows ${{sft.b}}, and there is nothing of that name"),
    ],
)
def test_a_recipe_that_cannot_be_read_says_where(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, "r.yaml", text)
    message = refusal(path)
    assert message.startswith("recipe: ")
    assert said.format(folder=tmp_path) in message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.yaml") == f"recipe: {tmp_path}/no.yaml cannot be read: No such file or directory"
    assert "cannot be read: Is a directory" in refusal(tmp_path)


def test_an_override_of_the_study_file_is_named_as_one(tmp_path: Path) -> None:
    path = write(tmp_path, "base.yaml", BASE)
    assert load_recipe(path, overrides={"grpo.seed": 1}).get("data.train.seed") == 1
    assert refusal(path, overrides={"grpo.sed": 1}).startswith("overrides.grpo.sed: the recipe has no such key")


def test_an_override_can_mend_a_recipe(tmp_path: Path) -> None:
    path = write(tmp_path, "r.yaml", "sft: {a: '${sft.b}', n: 1}\n")
    assert load_recipe(path, overrides={"sft.a": 1}).get("sft.a") == 1
    assert load_recipe(path, overrides={"++sft.b": 2}).get("sft.a") == 2


# -- the checkout ------------------------------------------------------------------------------------------------------


def test_the_checkout_is_found_upwards(tmp_path: Path) -> None:
    root = tmp_path / "NeMo-RL"
    write(root, "nemo_rl/__init__.py", "")
    path = write(root, "examples/configs/recipes/base.yaml", BASE)
    assert find_root(path) == root
    assert load_recipe(path).root == root
    assert load_recipe(Path("examples/configs/recipes/base.yaml"), root=root).path == path


def test_without_a_checkout_the_root_is_the_recipes_folder(base: Recipe, tmp_path: Path) -> None:
    assert find_root(base.path) is None
    assert base.root == tmp_path


def test_without_omegaconf_the_message_says_what_to_install(tmp_path: Path) -> None:
    path = write(tmp_path, "r.yaml", BASE)
    code = (
        "import sys; sys.modules['omegaconf'] = None\n"
        "from pathlib import Path; from rltune.trainers.nemo_rl.recipe import load_recipe\n"
        "from rltune.errors import TrainerError\n"
        "try: load_recipe(Path(sys.argv[1]))\n"
        "except TrainerError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("pip install 'rltune[nemo]'")


# -- NeMo RL's own recipes ---------------------------------------------------------------------------------------------

EXAMPLES: dict[str, tuple[str, str, bool]] = {
    "grpo_math_1B.yaml": ("grpo", "dtensor", False),
    "grpo_math_1B_megatron.yaml": ("grpo", "megatron", False),
    "grpo_math_8B.yaml": ("grpo", "dtensor", False),
    "prorlv2.v2.yaml": ("grpo", "dtensor", False),
    "ppo_math_1B.yaml": ("ppo", "dtensor", False),
    "dpo.yaml": ("dpo", "dtensor", False),
    "sft.yaml": ("sft", "dtensor", False),
    "rm.yaml": ("rm", "dtensor", False),
    "distillation_math.yaml": ("distillation", "dtensor", False),
    "recipes/llm/dapo-qwen2.5-7b.v2.yaml": ("grpo", "dtensor", True),
    "recipes/llm/grpo-deepscaler-1.5b-8K.yaml": ("grpo", "dtensor", False),
    "recipes/llm/grpo-deepscaler-1.5b-16K.yaml": ("grpo", "dtensor", False),
}
"""Algorithm, backend and whether it is DAPO, by file."""


@pytest.mark.skipif(not CHECKOUT, reason="needs a checkout of NeMo RL, named by the variable NEMO_RL_ROOT")
@pytest.mark.parametrize("name", EXAMPLES)
def test_a_recipe_of_nemo_rl_is_what_omegaconf_makes_of_it(name: str) -> None:
    from omegaconf import OmegaConf

    path = Path(CHECKOUT, "examples", "configs", name)
    recipe = load_recipe(path)
    assert (recipe.algorithm, recipe.backend, recipe.is_dapo) == EXAMPLES[name]
    assert not recipe.lora
    chain = [OmegaConf.load(path)]  # these name one parent each, and override no section as a whole
    while "defaults" in chain[0]:
        path = path.parent / chain[0].pop("defaults")
        chain.insert(0, OmegaConf.load(path))
    assert recipe.values == OmegaConf.to_container(OmegaConf.merge(*chain), resolve=True)
