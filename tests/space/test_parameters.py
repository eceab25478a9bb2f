"""Parameters: every mistake named with its key, and one view of a value leads to the other."""

from __future__ import annotations

import math
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import RandomSampler

from rltune.errors import SpaceError
from rltune.space import NO_DEFAULT, Categorical, Expression, Float, Int, Parameter, parse_parameter, spec_of
from rltune.space.parameters import probability


def problems(spec: Any) -> dict[str, str]:
    with pytest.raises(SpaceError) as caught:
        parse_parameter("lr", spec)
    assert all(each.key[0] == "lr" for each in caught.value.problems)
    return {".".join(map(str, each.key[1:])): str(each).split(": ", 1)[1] for each in caught.value.problems}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"type": "float", "min": 1e-5, "max": 1e-3, "log": True}, Float(1e-5, 1e-3, log=True)),
        ({"type": "float", "min": 0, "max": 1, "step": 0.25, "default": 0}, Float(0, 1, step=0.25, default=0.0)),
        ({"type": "int", "min": 1, "max": 8, "when": "a == 1"}, Int(1, 8, when=Expression("a == 1"))),
        ({"type": "int", "min": 1e2, "max": 5e3, "log": True, "n_points": 4}, Int(100, 5000, log=True, n_points=4)),
        ({"type": "categorical", "choices": [8, 16], "default": 16}, Categorical((8, 16), default=16)),
        (("float", 1e-5, 1e-3, {"log": True}), Float(1e-5, 1e-3, log=True)),
        (["int", 1, 8], Int(1, 8)),
        (("categorical", [8, 16]), Categorical((8, 16))),
        (("categorical", (None, "a"), {"default": None}), Categorical((None, "a"), default=None)),
        ({"type": "int", "min": 1, "max": 9, "default": 2, "prior": 4}, Int(1, 9, default=2, prior=4)),
        (("float", 1e-5, 1e-3, {"log": True, "zero": 0.2, "prior": 0}), Float(1e-5, 1e-3, log=True, zero=0.2, prior=0)),
        (("categorical", (8, 16), {"prior": 16.0}), Categorical((8, 16), prior=16)),
        (Float(0, 1), Float(0, 1)),
    ],
)
def test_what_is_read(spec: Any, expected: Parameter) -> None:
    assert parse_parameter("lr", spec) == expected


def test_values_come_out_plain() -> None:
    parameter = parse_parameter("x", ("float", np.float64(0.5), np.int64(2), {"default": np.float32(1)}))
    assert isinstance(parameter, Float)
    assert [type(each) for each in (parameter.low, parameter.high, parameter.default)] == [float] * 3
    choices = parse_parameter("x", ("categorical", [np.int64(1), np.str_("a"), np.bool_(False)]))
    assert isinstance(choices, Categorical)
    assert [type(choice) for choice in choices.choices] == [int, str, bool]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"type": "float", "min": 1, "max": 0.1}, {"min": "1.0 is above `max`, 0.1 (swap them)"}),
        ({"type": "float", "min": 0, "max": 1, "log": True}, {"min": "linear scale"}),
        ({"type": "int", "min": 0, "max": 9, "log": True}, {"min": "must be 1 or more with `log: true`"}),
        ({"type": "float", "min": 1, "max": 2, "log": True, "step": 0.1}, {"step": "cannot go with `log: true`"}),
        ({"type": "int", "min": 1, "max": 8, "log": True, "step": 2}, {"step": "cannot go with `log: true`"}),
        ({"type": "float", "min": 0, "max": 1, "step": 0}, {"step": "above 0"}),
        ({"type": "float", "min": 0, "max": 1, "step": 1e-9}, {"step": "makes 1,000,000,000 steps"}),
        ({"type": "float", "min": 0, "max": 1, "step": 0.1, "n_points": 3}, {"n_points": "cannot go with `step`"}),
        ({"type": "float", "min": 0, "max": 1, "n_points": 0}, {"n_points": "from 1 on"}),
        ({"type": "float", "min": 0, "max": 1, "n_points": 2.5}, {"n_points": "whole number"}),
        ({"type": "float", "min": 0}, {"max": "is missing (`type: float` needs `min`, `max`)"}),
        ({"type": "categorical"}, {"choices": "is missing"}),
        ({"type": "float", "min": 0, "max": 1, "default": 2}, {"default": "2.0 is not in the range, 0.0 to 1.0"}),
        ({"type": "float", "min": 0, "max": 1, "step": 0.1, "default": 0.25}, {"default": "0.25 is not in the range"}),
        ({"type": "categorical", "choices": []}, {"choices": "at least one value"}),
        ({"type": "categorical", "choices": 8}, {"choices": "must be a list, got 8"}),
        ({"type": "categorical", "choices": "ab"}, {"choices": "must be a list, got the text 'ab'"}),
        ({"type": "categorical", "choices": [1, 2, 1]}, {"choices.2": "1 is there twice"}),
        ({"type": "categorical", "choices": [1, True]}, {"choices.1": "Optuna cannot tell true from 1"}),
        ({"type": "categorical", "choices": [[1, 2], {}]}, {"choices.0": "got a list", "choices.1": "got a mapping"}),
        ({"type": "categorical", "choices": [math.nan]}, {"choices.0": "must be finite"}),
        ({"type": "float", "min": 0, "max": 1, "prior": 2}, {"prior": "widen the range, or change the prior"}),
        ({"type": "int", "min": 0, "max": 1, "prior": "high"}, {"prior": "must be a whole number"}),
        ({"type": "int", "min": 0, "max": 1, "default": 5, "prior": 7}, {"default": "5 is not", "prior": "7 is not"}),
        ({"type": "categorical", "choices": [1, 2], "prior": {1: 2}}, {"prior": "must be one of `1`, `2`"}),
        ({"type": "categorical", "choices": [1, 2], "default": 3}, {"default": "must be one of `1`, `2`, got 3"}),
        ({"type": "categorical", "choices": [1, 2], "default": True}, {"default": "got true"}),
        ({"type": "float", "min": "1e-5", "max": 1}, {"min": "must be a number, got the text '1e-5' (take the quotes"}),
        ({"type": "float", "min": "low", "max": None}, {"min": "got the text 'low'", "max": "got null"}),
        ({"type": "float", "min": False, "max": math.inf}, {"min": "got false", "max": "must be finite, got inf"}),
        ({"type": "int", "min": True, "max": 2.5}, {"min": "got true", "max": "must be a whole number, got 2.5"}),
        ({"type": "int", "min": 0, "max": 2**60}, {"max": "must lie within ±2**53"}),
        ({"type": "float", "min": 0, "max": 1, "log": "yes"}, {"log": "must be true or false"}),
        ({"type": "float", "min": 0, "max": 1, "when": "a ="}, {"when": "cannot be read"}),
        ({"type": "float", "min": 0, "max": 1, "when": 3}, {"when": "an expression is text"}),
        ({"type": "float", "low": 0, "max": 1}, {"low": "did you mean `min`?", "min": "is missing"}),
        ({"type": "float", "min": 0, "max": 1, "defualt": 1}, {"defualt": "did you mean `default`?"}),
        ({"type": "categorical", "values": [1], "choices": [1]}, {"values": "did you mean `choices`?"}),
        ({"type": "categorical", "choices": [1], "log": True}, {"log": "is no key of `type: categorical`"}),
        ({"type": "flaot", "min": 0, "max": 1}, {"type": "did you mean `float`?"}),
        ({"type": "bool"}, {"type": "choices: [true, false]"}),
        ({"type": 3}, {"type": "got 3"}),
        ({"min": 0, "max": 1}, {"type": "is missing"}),
        ({"a": {"type": "float"}}, {"": "join nested names with dots"}),
        (0.5, {"": "must be a mapping, got 0.5"}),
        ([8, 16, 32], {"": '("categorical", [8, 16])'}),
        (("float", 1), {"": "`float` takes `min`, `max` in this order"}),
        (("flaot", 1, 2), {"": "did you mean `float`?"}),
        ((), {"": "a short form starts with"}),
        (
            {"type": "float", "min": 0.1234567890123456, "max": 1, "step": 1.2345678901234567e-05},
            {"step": "too many digits"},
        ),
    ],
)
def test_what_is_refused(spec: Any, expected: dict[str, str]) -> None:
    found = problems(spec)
    assert found.keys() == expected.keys()
    for key, said in expected.items():
        assert said in found[key]


def test_constants_are_allowed() -> None:
    for parameter in (Float(2, 2), Float(2, 2, log=True), Int(3, 3), Int(3, 3, log=True), Categorical(("a",))):
        value = parameter.from_unit(0.7)
        assert parameter.distribution.single()
        assert parameter.n_values == 1
        assert parameter.from_unit(parameter.to_unit(value)) == value  # type: ignore[arg-type]
        assert list(parameter.grid_points()) == [value]


def test_the_top_of_a_range_that_steps_miss_is_never_reached() -> None:
    parameter = Float(0.8, 0.99, step=0.05)
    assert parameter.distribution == FloatDistribution(0.8, 0.95, step=0.05)
    assert list(parameter.grid_points()) == [0.8, 0.85, 0.9, 0.95]
    assert not parameter.contains(0.99)
    whole = Int(1, 10, step=4)
    assert whole.distribution == IntDistribution(1, 9, step=4)
    assert list(whole.grid_points()) == [1, 5, 9]


def test_grid_points() -> None:
    assert list(Float(0, 1, n_points=5).grid_points()) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert list(Float(1e-5, 1e-3, log=True, n_points=3).grid_points()) == pytest.approx([1e-5, 1e-4, 1e-3])
    assert Float(1e-5, 1e-3, log=True, n_points=3).grid_points()[-1] == 1e-3
    assert list(Float(1, 100, log=True, n_points=1).grid_points()) == pytest.approx([10.0])
    assert Float(0, 1).n_grid_points is None
    assert list(Int(1, 1000, log=True, n_points=4).grid_points()) == [1, 10, 100, 1000]
    assert list(Int(1, 3, log=True, n_points=9).grid_points()) == [1, 2, 3]
    assert list(Int(0, 100, n_points=3).grid_points()) == [0, 50, 100]
    assert Int(1, 10**9).n_grid_points == 10**9  # without listing them


def test_a_bool_is_not_a_number() -> None:
    assert not Int(0, 1).contains(True)
    assert not Float(0, 1).contains(True)
    assert not Categorical((0, 1)).contains(True)
    assert Categorical((True, False)).contains(True)
    assert Categorical((8, 16)).cast(8.0) == 8
    assert type(Categorical((8, 16)).cast(8.0)) is int


def test_parameters_are_values() -> None:
    for parameter in (Float(0, 1, default=0.5, when=Expression("a == 1")), Int(1, 2), Categorical((1, None))):
        assert pickle.loads(pickle.dumps(parameter)) == parameter
    assert Float(0, 1).default is NO_DEFAULT
    assert pickle.loads(pickle.dumps(Float(0, 1))).default is NO_DEFAULT


FLOATS = st.floats(-1e4, 1e4, allow_nan=False).map(lambda x: round(x, 6))


@st.composite
def parameters(draw: st.DrawFn) -> Parameter:
    kind = draw(st.sampled_from(["float", "log", "step", "int", "int log", "int step", "categorical"]))
    if kind == "categorical":
        scalars = st.none() | st.integers(2, 9) | st.booleans() | st.text(max_size=3)
        return Categorical(tuple(draw(st.lists(scalars, min_size=1, max_size=6, unique=True))))
    if "int" in kind:
        low = draw(st.integers(1 if "log" in kind else -1000, 1000))
        high = low + draw(st.integers(0, 5000))
        return Int(low, high, log="log" in kind, step=draw(st.integers(1, 7)) if "step" in kind else 1)
    low, high = sorted((draw(FLOATS), draw(FLOATS)))
    if kind == "log":
        low, high = abs(low) + 1e-6, abs(low) + 1e-6 + abs(high)
    step = draw(st.sampled_from([0.1, 0.25, 0.003, 7.0])) if kind == "step" else None
    return Float(low, high, log=kind == "log", step=step)


@settings(deadline=None)
@given(parameters(), st.floats(0, 1))
def test_the_unit_interval_leads_to_a_value_and_back(parameter: Parameter, u: float) -> None:
    value = parameter.from_unit(u)
    assert parameter.contains(value)
    assert type(parameter.cast(value)) is type(value)
    assert parameter.cast(value) == value
    back = parameter.to_unit(value)  # type: ignore[arg-type]
    assert 0 <= back <= 1
    if parameter.n_values is None:
        assert parameter.from_unit(back) == pytest.approx(value, rel=1e-9, abs=1e-6)
    else:
        assert parameter.from_unit(back) == value


@settings(deadline=None)
@given(parameters(), st.integers(0, 2**31))
def test_what_optuna_draws_is_in_the_range_and_the_other_way_round(parameter: Parameter, seed: int) -> None:
    distribution = parameter.distribution
    assume(not distribution.single())
    drawn = RandomSampler(seed).sample_independent(None, None, "x", distribution)  # type: ignore[arg-type]
    assert parameter.contains(drawn)
    assert parameter.contains(parameter.cast(drawn))
    ours = parameter.from_unit(seed / 2**31)
    assert distribution._contains(distribution.to_internal_repr(ours))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "parameter", [Int(1, 6), Int(1, 30, log=True), Int(0, 9, step=3), Float(0, 1, step=0.1), Categorical((1, 2, 3))]
)
def test_uniform_points_give_the_prior(parameter: Parameter) -> None:
    n = 40_000
    drawn = [parameter.from_unit((i + 0.5) / n) for i in range(n)]
    values = [parameter.value_at(i) for i in range(parameter.n_values or 0)]
    assert sum(probability(parameter, value) for value in values) == pytest.approx(1)
    for value in values:
        assert drawn.count(value) / n == pytest.approx(probability(parameter, value), abs=1e-3)


def test_log_integers_have_the_prior_of_optuna() -> None:
    parameter = Int(1, 20, log=True)
    sampler = RandomSampler(0)
    drawn = [sampler.sample_independent(None, None, "x", parameter.distribution) for _ in range(4000)]  # type: ignore[arg-type]
    for value in (1, 2, 5):
        assert drawn.count(value) / 4000 == pytest.approx(probability(parameter, value), abs=0.03)


def test_distributions() -> None:
    assert Float(1e-5, 1e-3, log=True).distribution == FloatDistribution(1e-5, 1e-3, log=True)
    assert Categorical(("a", None)).distribution == CategoricalDistribution(("a", None))


class TestZero:
    """0 as a part of a logarithmic range: `zero` is how likely it is."""

    DECAY = Float(1e-4, 0.1, log=True, zero=0.25)

    def test_the_prior_gives_it_as_often_as_asked(self):
        values = [self.DECAY.from_unit(u) for u in np.linspace(0, 1, 1001)]
        assert sum(value == 0.0 for value in values) == 250
        assert min(value for value in values if value) == pytest.approx(1e-4)
        assert max(values) == 0.1

    def test_so_does_the_range_that_optuna_is_given(self):
        range_ = self.DECAY.distribution
        below = math.log(self.DECAY.low / range_.low) / math.log(range_.high / range_.low)
        assert below == pytest.approx(0.25)

    @given(st.floats(0, 1), st.floats(0.01, 0.9))
    def test_there_and_back(self, u, zero):
        parameter = Float(1e-4, 0.1, log=True, zero=zero)
        value = parameter.from_unit(u)
        assert parameter.contains(value)
        assert parameter.cast(parameter.to_journal(value)) == value
        in_journal = parameter.to_journal(value)
        assert parameter.distribution._contains(parameter.distribution.to_internal_repr(in_journal))
        if value:
            assert parameter.to_unit(value) == pytest.approx(u, abs=1e-9)
        else:
            assert parameter.to_unit(value) < zero

    def test_what_lies_between_is_neither(self):
        assert self.DECAY.contains(0.0)
        assert not self.DECAY.contains(1e-6)
        assert self.DECAY.describe() == "0, or 0.0001 to 0.1 on a log scale"

    def test_a_grid_has_it_too(self):
        parameter = Float(1e-3, 0.1, log=True, zero=0.1, n_points=3)
        assert parameter.n_grid_points == 4
        assert parameter.grid_points() == pytest.approx([0.0, 1e-3, 1e-2, 0.1])

    def test_it_may_be_the_default(self):
        assert Float(1e-3, 0.1, log=True, zero=0.1, default=0).default == 0.0
        with pytest.raises(SpaceError, match="1e-05 is not in the range, 0, or"):
            Float(1e-3, 0.1, log=True, zero=0.1, default=1e-5)

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ({"min": 0.0, "log": True}, "min: must be above 0 with `log: true`, got 0.0 (use a linear scale, without"),
            ({"min": 0.0, "log": True}, "or raise it, and keep 0 by `zero`: min: 1e-5, zero: 0.2)"),
            ({"min": 0.0, "log": True, "zero": 0.2}, "keep 0 by `zero`: min: 1e-5, zero: 0.2"),
            ({"min": 0.0, "zero": 0.2}, "zero: is for `log: true`: a linear scale reaches 0 by itself"),
            ({"min": 1e-4, "log": True, "zero": 1}, "zero: must be a probability above 0 and up to 0.9, got 1"),
            ({"min": 1e-4, "log": True, "zero": True}, "zero: must be a probability above 0 and up to 0.9, got true"),
            ({"min": 0.1, "log": True, "zero": 0.2}, "zero: needs a range beside it"),
            ({"min": 1e-99, "log": True, "zero": 0.9}, "zero: is too likely for so wide a range"),
        ],
    )
    def test_what_cannot_be(self, spec, message):
        with pytest.raises(SpaceError) as caught:
            parse_parameter("decay", {"type": "float", "max": 0.1, **spec})
        assert message in str(caught.value)


@pytest.mark.parametrize(
    "parameter",
    [
        Float(0.0, 1.0),
        Float(1e-5, 1e-3, log=True, zero=0.2, default=0.0, n_points=3),
        Float(0.0, 1.0, step=0.25, default=0.5),
        Int(1, 8, log=True, default=2, prior=4),
        Int(8, 32, step=8, when=Expression("a > 1")),
        Categorical((None, True, "adamw", 8), default=None),
        Categorical(("a", "b")),
    ],
)
def test_a_parameter_is_written_as_it_is_read(parameter):
    spec = spec_of(parameter)
    assert parse_parameter("p", spec) == parameter
    assert ("default" in spec) is (parameter.default is not NO_DEFAULT)
