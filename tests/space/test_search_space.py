"""The space as a whole: conditions, constraints, derived values, defaults, draws, the unit cube, the grid."""

from __future__ import annotations

import pickle
import time
from itertools import product
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rltune.errors import SpaceError
from rltune.space import Categorical, Float, Int, SearchSpace

GUIDE = {
    "hidden_size": {"type": "categorical", "choices": [512, 768, 1024, 1536]},
    "num_layers": {"type": "int", "min": 6, "max": 24},
    "num_attention_heads": {"type": "categorical", "choices": [8, 12, 16, 24]},
    "learning_rate": {"type": "float", "min": 1e-5, "max": 1e-3, "log": True},
    "batch_size": {"type": "categorical", "choices": [4, 8, 16, 32, 64]},
    "warmup_steps": {"type": "int", "min": 100, "max": 5000, "log": True},
}
HEADS = "hidden_size % num_attention_heads == 0"
CONDITIONS = {
    "nesterov": ("categorical", [True, False], {"when": "momentum > 0.85"}),
    "momentum": ("float", 0.8, 0.99, {"when": "optimizer == 'muon'"}),
    "optimizer": ("categorical", ["adamw", "muon"]),
    "lr": ("float", 1e-5, 1e-2, {"log": True}),
}


def problems(*args: Any, **kwargs: Any) -> dict[str, str]:
    with pytest.raises(SpaceError) as caught:
        SearchSpace.from_mapping(*args, **kwargs)
    return {".".join(map(str, each.key)): str(each) for each in caught.value.problems}


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# -- what is read ------------------------------------------------------------------------------------------------------


def test_all_problems_at_once() -> None:
    found = problems(
        {"lr": {"type": "float", "min": 1, "max": 0}, "bs": ("categorical", []), "n": ("int", 1, 2, {"when": "lr >"})},
        ["lr < missing", 3, "bs +"],
        {"n": "lr", "x": "y", "y": "x"},
    )
    assert found.keys() == {
        "search_space.lr.min", "search_space.bs.choices", "search_space.n.when", "constraints.0", "constraints.1",
        "constraints.2", "derived.n", "derived.x",
    }  # fmt: skip
    assert "there is no parameter `missing`" in found["constraints.0"]
    assert "circle" in found["derived.x"]


@pytest.mark.parametrize(
    ("arguments", "key", "said"),
    [
        (({},), "search_space", "has no parameters"),
        (([1],), "search_space", "must be a mapping"),
        (({3: ("int", 1, 2)},), "search_space.3", "a name must be text, got 3"),
        (({"a": ("int", 1, 2)}, "a > 1"), "constraints", "must be a list"),
        (({"a": ("int", 1, 2)}, [], ["a"]), "derived", "must be a mapping"),
        (({"lr": ("int", 1, 2)}, ["lrr > 1"]), "constraints.0", "did you mean `lr`?"),
        (({"o": ("categorical", ["x"])}, ["o == x"]), "constraints.0", "text goes in quotes: 'x'"),
        (({"a": ("int", 1, 2, {"when": "d > 1"})}, [], {"d": "a"}), "search_space.a.when", "the derived value `d`"),
        (({"a": ("int", 1, 2, {"when": "a > 1"})},), "search_space.a.when", "circle"),
        (({"a": ("int", 1, 2)}, [], {"d": "a / (a - 1)"}), "derived.d", "division by zero, with a = 1"),
        (({"a": ("int", 0, 2)}, ["4 % a == 0"]), "constraints.0", "division by zero, with a = 0"),
        (({"a": ("float", 0, 2)}, ["4 / a > 1"]), "constraints.0", "division by zero, with a = 0.0"),
        (({"a": ("int", 1, 2)}, ["a % 2"]), "constraints.0", "must be true or false, but gives 1"),
        (({"a": ("categorical", ["x", "y"])}, ["a < 3"]), "constraints.0", "cannot order the text 'x' and 3"),
        (({"o": ("categorical", ["x"]), "a": ("int", 1, 2, {"when": "o > 1"})},), "search_space.a.when", "order"),
        (({"o": ("categorical", ["x"]), "a": ("int", 1, 2, {"when": "o == 'z'"})},), "search_space.a.when", "never"),
    ],
)
def test_what_is_refused(arguments: Any, key: str, said: str) -> None:
    assert said in problems(*arguments)[key]


def test_a_circle_of_conditions_is_named_once() -> None:
    conditions = {"a": ("int", 1, 2, {"when": "b > 1"}), "b": ("int", 1, 2, {"when": "a > 1"}),
                  "c": ("int", 1, 2, {"when": "a > 1"})}  # fmt: skip
    assert list(problems(conditions)) == ["search_space.a.when"]


@pytest.mark.parametrize("low", [1, 1.5], ids=["tried whole", "drawn"])
def test_an_empty_space_is_found_and_the_constraint_named(low: float) -> None:
    kind = "int" if low == 1 else "float"
    space = {"a": (kind, low, 8), "b": (kind, low, 8)}
    begun = time.perf_counter()
    alone = problems(space, ["a > b", "a + b > 20"])
    assert alone.keys() == {"constraints.1"}
    assert "no configuration satisfies `a + b > 20`" in alone["constraints.1"]
    pair = problems(space, ["a > b", "a < 100", "b > a"])
    assert "no configuration satisfies both `a > b` and `b > a`" in pair["constraints.2"]
    together = problems(space, ["a > b", "b > 5", "a < 4"])
    assert "both `b > 5` and `a < 4`" in together["constraints.2"] or "all of" in together["constraints.2"]
    assert time.perf_counter() - begun < 10


def test_a_rare_but_feasible_space_is_accepted() -> None:
    space = SearchSpace.from_mapping({**GUIDE, "a": ("int", 1, 100), "b": ("int", 1, 100)}, ["a * b == 9409"])
    assert space.sample(rng()).items() >= {"a": 97, "b": 97}.items()  # 1 in 10,000, beside continuous parameters


def test_the_guide() -> None:
    space = SearchSpace.from_mapping(GUIDE, [HEADS])
    pairs = {(h, n) for h, n in product([512, 768, 1024, 1536], [8, 12, 16, 24]) if h % n == 0}
    generator = rng()
    drawn = [space.sample(generator) for _ in range(500)]
    assert {(each["hidden_size"], each["num_attention_heads"]) for each in drawn} == pairs
    assert all(space.is_feasible(each) for each in drawn)
    assert space.size is None
    assert space.violations({**drawn[0], "hidden_size": 512, "num_attention_heads": 12}) == [
        f"`{HEADS}` does not hold with hidden_size = 512, num_attention_heads = 12"
    ]


def test_a_big_space_is_made_in_no_time() -> None:
    wide = {f"layer_{i}.lr": ("float", 1e-5, 1e-2, {"log": True}) for i in range(200)}
    begun = time.perf_counter()
    space = SearchSpace.from_mapping({**wide, **GUIDE}, [HEADS, "`layer_0.lr` < `layer_1.lr`"])
    for _ in range(20):
        space.sample(rng())
    assert time.perf_counter() - begun < 10


# -- one configuration -------------------------------------------------------------------------------------------------


def test_conditions() -> None:
    space = SearchSpace.from_mapping(CONDITIONS)
    assert space.order.index("optimizer") < space.order.index("momentum") < space.order.index("nesterov")
    assert space.conditional == {"momentum", "nesterov"}
    everything = {"optimizer": "adamw", "momentum": 0.9, "nesterov": True, "lr": 1e-3}
    assert space.active(everything) == ("optimizer", "lr")
    assert space.active({**everything, "optimizer": "muon"}) == ("nesterov", "momentum", "optimizer", "lr")
    assert space.active({**everything, "optimizer": "muon", "momentum": 0.8}) == ("momentum", "optimizer", "lr")
    assert space.active({}) == ("optimizer", "lr")
    assert space.resolve(everything) == {"optimizer": "adamw", "lr": 1e-3}


def test_derived_values_come_last_in_declared_order_and_may_need_each_other() -> None:
    space = SearchSpace.from_mapping(
        {**CONDITIONS, "a": ("int", 1, 4)},
        derived={"twice": "2 * once", "once": "a * steps", "heat": "momentum * lr", "fixed": 64, "flag": True,
                 "either": "momentum if optimizer == 'muon' else lr"},
        constants={"steps": 10, "unused": [1, 2]},
    )  # fmt: skip
    resolved = space.resolve({"optimizer": "adamw", "lr": 1e-3, "a": 3.0, "momentum": 0.9})
    assert list(resolved) == ["optimizer", "lr", "a", "twice", "once", "fixed", "flag", "either"]
    assert resolved["twice"] == 60
    assert type(resolved["a"]) is int
    assert resolved["either"] == 1e-3
    assert resolved["flag"] is True
    assert space.resolve({**resolved, "optimizer": "muon", "momentum": 0.8})["heat"] == pytest.approx(8e-4)


def test_what_cannot_be_resolved() -> None:
    space = SearchSpace.from_mapping(CONDITIONS)
    with pytest.raises(SpaceError) as caught:
        space.resolve({"optimizer": "muon", "lr": "1e-3"})
    momentum, lr = map(str, caught.value.problems)
    assert momentum == "momentum: has no value, but is active"
    assert lr.startswith("lr: must be a number, got the text '1e-3' (take the quotes away")
    assert not space.is_feasible({"optimizer": "muon", "lr": 1e-3})


def test_constraints_through_derived_values_and_inactive_parameters() -> None:
    space = SearchSpace.from_mapping(
        {**CONDITIONS, "a": ("int", 1, 64), "b": ("int", 1, 64)},
        ["batch % 8 == 0", "momentum < 0.9", "heat > 0.1"],
        {"heat": "momentum / 8", "batch": "prompts * b", "prompts": "a"},
    )
    adamw = {"optimizer": "adamw", "lr": 1e-3, "a": 4, "b": 4}
    assert space.is_feasible(adamw)  # nothing with momentum applies
    assert space.violations({**adamw, "b": 3}) == ["`batch % 8 == 0` does not hold with batch = 12"]
    muon = {**adamw, "optimizer": "muon", "momentum": 0.95, "nesterov": True}
    assert space.violations(muon) == ["`momentum < 0.9` does not hold with momentum = 0.95"]
    assert space.violations({**muon, "momentum": 0.8}) == ["`heat > 0.1` does not hold with heat = 0.1"]


def test_violations_of_ranges() -> None:
    space = SearchSpace.from_mapping(GUIDE, [HEADS])
    values = {**space.sample(rng()), "num_layers": 25}
    assert space.violations(values) == ["num_layers: 25 is not in the range, 6 to 24"]


# -- defaults ----------------------------------------------------------------------------------------------------------


def test_defaults() -> None:
    space = SearchSpace.from_mapping(
        {**CONDITIONS, "lr": Float(1e-5, 1e-2, default=1e-3), "optimizer": Categorical(("adamw", "muon"))}
    )
    assert space.defaults() is None
    assert space.missing_defaults == ("optimizer",)
    adamw = space.with_defaults({"optimizer": "adamw", "lr": 5e-3, "momentum": None, "other": 3})
    assert adamw.defaults() == {"optimizer": "adamw", "lr": 1e-3}  # its own default stays; momentum is not active
    muon = space.with_defaults({"optimizer": "muon"})
    assert muon.defaults() is None
    assert muon.missing_defaults == ("momentum",)
    whole = muon.with_defaults({"momentum": 0.9, "nesterov": True})
    assert whole.defaults() == {"nesterov": True, "momentum": 0.9, "optimizer": "muon", "lr": 1e-3}


def test_null_can_be_a_default_where_it_is_a_choice() -> None:
    space = SearchSpace.from_mapping({"clip": ("categorical", [None, 1.0]), "n": ("int", 1, 2)})
    assert space.with_defaults({"clip": None, "n": None}).missing_defaults == ("n",)


def test_a_default_outside_its_range_is_a_problem() -> None:
    space = SearchSpace.from_mapping({"lr": ("float", 1e-5, 1e-3), "n": ("int", 1, 2), "o": ("categorical", ["a"])})
    with pytest.raises(SpaceError) as caught:
        space.with_defaults({"lr": 0.1, "n": "1", "o": "b"})
    assert [each.key for each in caught.value.problems] == [
        ("search_space", name, "default") for name in ("lr", "n", "o")
    ]
    assert "base config; widen the range" in str(caught.value)


def test_defaults_that_break_a_constraint_are_a_problem() -> None:
    space = {**GUIDE, "hidden_size": ("categorical", [512, 768], {"default": 512}),
             "num_attention_heads": ("categorical", [8, 12], {"default": 12})}  # fmt: skip
    found = problems(space, [HEADS])["constraints.0"]
    assert "does not hold for the defaults (hidden_size = 512, num_attention_heads = 12" in found


def test_constants() -> None:
    assert "it reads constants only" in problems({"a": ("int", 1, 2)}, ["c > 3"], constants={"c": 3})["constraints.0"]
    space = SearchSpace.from_mapping(
        {"a": ("int", 1, 8), "m": ("int", 1, 2, {"when": "kind == 'muon'"})},
        ["a <= most"],
        {"batch": "a * 2"},
        constants={"most": 3, "kind": "adamw", "a": 7, "batch": 9},
    )
    assert {space.sample(np.random.default_rng(i))["a"] for i in range(40)} == {1, 2, 3}
    assert space.resolve({"a": 2, "m": 1}) == {"a": 2, "batch": 4}
    assert space.constants == {"most": 3, "kind": "adamw"}


# -- drawing -----------------------------------------------------------------------------------------------------------


def test_the_prior_keeps_its_proportions_under_constraints() -> None:
    space = SearchSpace.from_mapping({"n": ("int", 1, 100, {"log": True}), "m": ("int", 1, 4)}, ["n <= 4 * m"])
    generator = rng()
    drawn = [space.sample(generator) for _ in range(6000)]
    free = SearchSpace.from_mapping({"n": ("int", 1, 100, {"log": True}), "m": ("int", 1, 4)})
    rejected = [each for each in (free.sample(generator) for _ in range(12_000)) if each["n"] <= 4 * each["m"]]
    for n in (1, 4, 10):
        assert _share(drawn, n) == pytest.approx(_share(rejected, n), abs=0.03)


def _share(drawn: list[dict[str, Any]], n: int) -> float:
    return sum(each["n"] == n for each in drawn) / len(drawn)


def test_the_nearest_feasible_configuration_changes_only_what_is_tied() -> None:
    space = SearchSpace.from_mapping(GUIDE, [HEADS])
    bad = {**space.sample(rng()), "hidden_size": 512, "num_attention_heads": 12}
    seen = set()
    for seed in range(20):
        near = space.nearest(bad, np.random.default_rng(seed))
        assert near is not None
        assert space.is_feasible(near)
        assert {name for name in near if near[name] != bad[name]} <= {"hidden_size", "num_attention_heads"}
        seen.add((near["hidden_size"], near["num_attention_heads"]))
    assert seen == {(512, 8), (512, 16), (768, 12)}  # all at the same distance
    kept = space.nearest(bad, rng(), keep={"num_attention_heads": 12})
    assert kept is not None
    assert kept["hidden_size"] == 768
    assert space.nearest(bad, rng(), keep={"hidden_size": 512, "num_attention_heads": 12}) is None
    good = {**bad, "num_attention_heads": 8}
    assert space.nearest(good, rng()) == good


def test_the_nearest_where_there_is_too_much_to_list() -> None:
    space = SearchSpace.from_mapping(
        {"a": ("float", 0, 1), "b": ("float", 0, 1), "c": ("float", 0, 1)}, ["a + b < 0.5"]
    )
    near = space.nearest({"a": 0.9, "b": 0.1, "c": 0.123}, rng())
    assert near is not None
    assert near["c"] == 0.123
    assert near["a"] + near["b"] < 0.5
    assert near["a"] > near["b"]


def test_keeping_values_while_drawing() -> None:
    space = SearchSpace.from_mapping({**GUIDE, **CONDITIONS}, [HEADS])
    drawn = space.sample(rng(), {"hidden_size": 512, "optimizer": "muon", "lr": 1e-4})
    assert drawn.items() >= {"hidden_size": 512, "optimizer": "muon", "lr": 1e-4}.items()
    assert "momentum" in drawn
    assert space.is_feasible(drawn)
    with pytest.raises(SpaceError, match="no feasible configuration was found with"):
        space.sample(rng(), {"hidden_size": 512, "num_attention_heads": 12})


def test_suggest() -> None:
    space = SearchSpace.from_mapping(CONDITIONS, derived={"double": "2 * lr"})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        params = space.suggest(trial)
        assert params == space.resolve(trial.params)
        assert {name: params[name] for name in trial.params} == trial.params
        assert trial.distributions.items() <= space.distributions.items()
    study.enqueue_trial({"optimizer": "muon", "momentum": 0.8})
    assert space.suggest(study.ask()).items() >= {"optimizer": "muon", "momentum": 0.8}.items()


def test_a_space_is_a_value() -> None:
    space = SearchSpace.from_mapping({**GUIDE, **CONDITIONS}, [HEADS], {"x": "num_layers * k"}, constants={"k": 2})
    again = pickle.loads(pickle.dumps(space))
    assert again == space
    assert again.sample(rng()) == space.sample(rng())


# -- properties --------------------------------------------------------------------------------------------------------


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """A few parameters, conditions on earlier ones, and constraints; made feasible by trying."""
    kinds: dict[str, Any] = {
        "a": ("int", 1, draw(st.integers(1, 12))),
        "b": ("int", 2, 64, {"log": True}),
        "c": ("categorical", ["x", "y", "z"]),
        "d": ("float", 0.5, 2.0, {"step": 0.25}) if draw(st.booleans()) else ("float", 1e-4, 1.0, {"log": True}),
        "e": ("float", -1.0, 1.0),
    }
    for name, when in {"d": "c == 'x'", "e": "c != 'y'", "b": "a >= 1"}.items():
        if draw(st.booleans()):
            kinds[name] = (*kinds[name][:3], {**(kinds[name][3] if len(kinds[name]) > 3 else {}), "when": when})
    texts = ["b % 2 == 0", "a <= b", "a * b <= 128", "e < d", "c != 'z' or e > 0", "s > 2"]
    rules = draw(st.lists(st.sampled_from(texts), max_size=3, unique=True))
    return SearchSpace.from_mapping(kinds, rules, {"s": "a + b"})


@settings(max_examples=40, deadline=None)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_draws_are_feasible_active_and_survive_the_unit_cube(space: SearchSpace, seed: int) -> None:
    values = space.sample(np.random.default_rng(seed))
    assert space.violations(values) == []
    assert tuple(values) == space.active(values)
    resolved = space.resolve(values)
    assert set(resolved) == set(values) | {"s"}
    assert space.resolve(resolved) == resolved
    unit = space.to_unit(values)
    assert unit.shape == (len(space.parameters),)
    assert np.all((unit >= 0) & (unit <= 1))
    assert all(unit[i] == 0.5 for i, name in enumerate(space.parameters) if name not in values)
    back = space.from_unit(unit)
    assert list(back) == list(values)
    assert all(back[name] == pytest.approx(value) for name, value in values.items())


@settings(max_examples=25, deadline=None)
@given(spaces(), st.integers(0, 2**32 - 1))
def test_any_point_of_the_cube_has_a_feasible_neighbour(space: SearchSpace, seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = space.from_unit(generator.random(len(space.parameters)))
    assert tuple(values) == space.active(values)
    near = space.nearest(values, generator)
    assert near is not None
    assert space.violations(near) == []
    if space.is_feasible(values):
        assert near == values


def test_points_of_a_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"expected a point of shape \(4,\), got \(3,\)"):
        SearchSpace.from_mapping(CONDITIONS).from_unit(np.zeros(3))


# -- the grid ----------------------------------------------------------------------------------------------------------


def test_the_grid_is_every_feasible_configuration_once() -> None:
    space = SearchSpace.from_mapping(
        {
            "heads": ("categorical", [8, 12, 16]),
            "hidden": ("categorical", [512, 768]),
            "momentum": ("float", 0.8, 0.9, {"step": 0.05, "when": "optimizer == 'muon'"}),
            "optimizer": ("categorical", ["adamw", "muon"]),
            "lr": ("float", 1e-4, 1e-2, {"log": True, "n_points": 3}),
            "k": ("int", 1, 2),
        },
        ["hidden % heads == 0"],
    )
    grid = space.grid()
    assert len(grid) == 5 * (1 + 3) * 3 * 2
    assert space.grid_size == 6 * 6 * 3 * 2
    configurations = list(grid)
    assert len({tuple(each.items()) for each in configurations}) == len(grid)
    assert all(space.is_feasible(each) for each in configurations)
    assert [grid.number(each) for each in configurations] == list(range(len(grid)))
    assert grid[-1] == configurations[-1]
    assert grid[1:3] == configurations[1:3]
    assert list(configurations[0])[:2] == ["heads", "hidden"]
    assert grid.number({**configurations[0], "lr": 0.5}) is None
    with pytest.raises(IndexError):
        grid[len(grid)]


def test_a_grid_needs_points() -> None:
    space = SearchSpace.from_mapping({"lr": ("float", 1e-4, 1e-2, {"log": True}), "wd": ("float", 0, 1)})
    assert space.grid_size is None
    with pytest.raises(SpaceError) as caught:
        space.grid()
    lr, wd = map(str, caught.value.problems)
    assert lr.startswith("search_space.lr: is continuous, so a grid needs to know its points (add `n_points: 5`, or")
    assert wd.startswith(
        "search_space.wd: is continuous, so a grid needs to know its points (add `n_points: 5` or `step:`"
    )


@pytest.mark.parametrize("top", [101, 10**9])
def test_a_grid_that_is_too_large_is_refused_at_once(top: int) -> None:
    space = SearchSpace.from_mapping(dict.fromkeys("abc", ("int", 1, top)))
    begun = time.perf_counter()
    with pytest.raises(SpaceError, match="points, 1,000,000 are allowed"):
        space.grid()
    assert time.perf_counter() - begun < 5
    assert len(SearchSpace.from_mapping(dict.fromkeys("abc", ("int", 1, 100))).grid()) == 1_000_000


@settings(max_examples=20, deadline=None)
@given(spaces())
def test_size_is_that_of_the_finite_part(space: SearchSpace) -> None:
    if any(parameter.n_values is None for parameter in space.parameters.values()):
        assert space.size is None
        return
    assert space.size == len(space.grid())


def test_sizes() -> None:
    assert SearchSpace({"a": Int(1, 10**9), "b": Categorical((1, 2))}).size == 2 * 10**9
    heads = SearchSpace.from_mapping({name: GUIDE[name] for name in ("hidden_size", "num_attention_heads")}, [HEADS])
    assert heads.size == 12
    assert (
        SearchSpace.from_mapping({"c": ("categorical", ["x", "y"]), "n": ("int", 1, 5, {"when": "c == 'x'"})}).size == 6
    )
