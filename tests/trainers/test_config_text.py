from __future__ import annotations

import datetime as dt
import enum
import json
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from rltune.errors import Problem, TrainerError
from rltune.trainers.config_text import (
    did_you_mean,
    flattened,
    float_text,
    json_text,
    merged,
    override_text,
    overrides,
    unknown_keys,
    value_text,
    yaml_text,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text(
    "ab1.e-+ '\"\\=,:#{}[]()$\t~", max_size=8
)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3))


class TestMerged:
    def test_dotted_names_nest(self) -> None:
        assert merged(None, {"lr": 1e-5, "a.b": 1, "a.c.d": "x"}) == {"lr": 1e-5, "a": {"b": 1, "c": {"d": "x"}}}

    def test_the_base_stays_as_it_is(self) -> None:
        base = {"a": {"b": 1, "keep": [1]}}
        config = merged(base, {"a.b": 2})
        assert config == {"a": {"b": 2, "keep": [1]}}
        config["a"]["keep"].append(2)
        assert base == {"a": {"b": 1, "keep": [1]}}

    def test_a_flat_key_of_the_base_is_kept_flat(self) -> None:
        assert merged({"a.b": 1}, {"a.b": 2}) == {"a.b": 2}
        assert merged({"x": {"a.b": {"c": 1}}}, {"x.a.b.c": 2}) == {"x": {"a.b": {"c": 2}}}

    def test_numbers_step_into_lists(self) -> None:
        base = {"scheduler": [{"kwargs": {"iters": 1}}, {"milestones": [5]}], "betas": [0.9, 0.95]}
        config = merged(base, {"scheduler.0.kwargs.iters": 7, "betas.1": 0.99, "scheduler.1.milestones": [7]})
        assert config == {"scheduler": [{"kwargs": {"iters": 7}}, {"milestones": [7]}], "betas": [0.9, 0.99]}

    def test_null_makes_way(self) -> None:
        assert merged({"policy": None}, {"policy.lr": 1}) == {"policy": {"lr": 1}}

    @pytest.mark.parametrize(
        ("base", "name", "wrong"),
        [
            ({"a": 1}, "a.b", "cannot be set: `a` in the base config is 1"),
            ({"x": {"a": "s"}}, "x.a.b.c", "cannot be set: `x.a` in the base config is 's'"),
            ({"a": [1]}, "a.1", "'1' is no index of a list of 1 items"),
            ({"a": [1]}, "a.lr", "'lr' is no index of a list of 1 items"),
        ],
    )
    def test_names_that_do_not_fit(self, base: dict[str, Any], name: str, wrong: str) -> None:
        with pytest.raises(TrainerError, match=wrong):
            merged(base, {name: 0})

    def test_choices_are_not_shared_between_trials(self) -> None:
        choice = [1, 2]
        merged(None, {"layers": choice})["layers"].append(3)
        assert choice == [1, 2]


class TestUnknownKeys:
    base: ClassVar = {"policy": {"optimizer": {"kwargs": {"lr": 1, "eps": 1}}, "betas": [0.9]}, "a.b": 1, "empty": None}

    def test_known(self) -> None:
        assert unknown_keys(self.base, ["policy.optimizer.kwargs.lr", "policy.betas.0", "policy.betas", "a.b"]) == []

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("policy.lr", "did you mean `policy.optimizer.kwargs.lr`?"),
            ("policy.optimizer.kwargs.ep", "did you mean `policy.optimizer.kwargs.eps`?"),
            ("policy.betas.1", "did you mean `policy.betas.0`?"),
            ("empty.x", "did you mean `empty`?"),
            ("policy.betas.x.y", "did you mean `policy.betas.0`?"),
            ("zzzzzz.qqqqq", ""),
        ],
    )
    def test_unknown(self, name: str, hint: str) -> None:
        (problem,) = unknown_keys(self.base, [name])
        assert problem == Problem((name,), "the base config has no such key", hint)

    def test_the_nearest_comes_first(self) -> None:
        assert did_you_mean("critic.lr", ["actor.optimizer.lr", "critic.optimizer.lr"]).startswith(
            "did you mean `critic.optimizer.lr`"
        )


def test_flattened() -> None:
    config = {"a": {"b": [1, {"c": 2}], "d": None}, "e.f": "x", "g": {}}
    assert flattened(config) == {
        "a.b": [1, {"c": 2}],
        "a.b.0": 1,
        "a.b.1.c": 2,
        "a.d": None,
        "e.f": "x",
    }
    assert list(flattened({"b": 1, "a": 2})) == ["b", "a"]


class TestYaml:
    @pytest.mark.parametrize("reader", ["ruamel", "pyyaml"])
    @given(config=st.dictionaries(texts, values, max_size=4))
    def test_what_is_written_is_read_back(self, reader: str, config: dict[str, Any]) -> None:
        text = yaml_text(config)
        if reader == "pyyaml":
            again = pytest.importorskip("yaml").safe_load(text)
        else:
            again = YAML(typ="safe", pure=True).load(text)
        assert same(again, config), text

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (1e-5, "1.0e-05"),
            (1.5e-7, "1.5e-07"),
            (1e22, "1.0e+22"),
            (0.1, "0.1"),
            (2.0, "2.0"),
            (-1e-5, "-1.0e-05"),
            (math.inf, ".inf"),
            (-math.inf, "-.inf"),
            (math.nan, ".nan"),
            (True, "true"),
            (None, "null"),
            ("1e-5", '"1e-5"'),
            ("on", '"on"'),
            ("adamw", "adamw"),
            ("torch.optim.AdamW", "torch.optim.AdamW"),
            (np.float64(1e-5), "1.0e-05"),
            (np.int64(3), "3"),
            (Path("/a/b"), "/a/b"),
            (dt.date(2026, 1, 1), "2026-01-01"),
        ],
    )
    def test_scalars(self, value: object, text: str) -> None:
        assert yaml_text({"k": value}) == f"k: {text}\n"

    def test_layout(self) -> None:
        shared = [0.9, 1e-8]
        config = {"z": 1, "a": {"betas": shared, "again": shared, "e": {}, "t": (1, 2)}, "long": "word " * 60}
        assert yaml_text(config) == (
            "z: 1\na:\n  betas:\n  - 0.9\n  - 1.0e-08\n  again:\n  - 0.9\n  - 1.0e-08\n  e: {}\n  t:\n  - 1\n  - 2\n"
            f'long: "{"word " * 60}"\n'
        )

    def test_what_round_trip_readers_give_is_written_plainly(self) -> None:
        config = YAML().load("a: 1e-5 # c\nb: &x 'on'\nc: [0x10, *x]\nd: 12:30:00\n")
        assert yaml_text(config) == 'a: 1.0e-05\nb: "on"\nc:\n- 16\n- "on"\nd: "12:30:00"\n'

    def test_what_has_no_form_is_named(self) -> None:
        with pytest.raises(TrainerError, match=r"config value `a.0.f` is a function, which a config file cannot hold"):
            yaml_text({"a": [{"f": value_text}]})
        loop: dict[str, Any] = {}
        loop["me"] = loop
        with pytest.raises(TrainerError, match=r"config value `me.me.me.me.me...` contains itself"):
            yaml_text(loop)


def test_enums_are_their_values() -> None:
    class Kind(str, enum.Enum):  # noqa: UP042  # the older form, whose str() is another text
        A = "a"

    assert yaml_text({"k": Kind.A}) == "k: a\n"
    assert override_text(Kind.A) == "a"


def test_json() -> None:
    config = {"lr": 1e-5, "t": (1, "é"), "d": dt.date(2026, 1, 1), "n": None}
    assert json.loads(json_text(config)) == {"lr": 1e-5, "t": [1, "é"], "d": "2026-01-01", "n": None}


@given(st.floats())
def test_float_text_reads_back_and_has_a_dot(number: float) -> None:
    text = float_text(number)
    assert same(float(text), number)
    assert "." in text or not math.isfinite(number)


@pytest.mark.parametrize(
    ("value", "text"),
    [  # all of these were read back by hydra-core 1.3.8; those without (H) by OmegaConf.from_dotlist as well
        (1e-5, "1.0e-05"),
        (3, "3"),
        (True, "true"),
        (None, "null"),
        ("adamw", "adamw"),
        ("a/b.c-d", "a/b.c-d"),
        ("", "''"),
        ("true", "'true'"),
        ("Null", "'Null'"),
        ("010", "'010'"),
        ("1e-5", "'1e-5'"),
        ("12:30:00", "'12:30:00'"),
        ("/tmp/lr=1e-5", "'/tmp/lr=1e-5'"),
        ("a,b c#d", "'a,b c#d'"),
        ("it's", '"it\'s"'),
        ('say "x"', "'say \"x\"'"),
        ("back\\slash", "'back\\slash'"),
        ("end\\", "'end\\\\'"),  # (H)
        ("both ' and \"", "'both \\' and \"'"),  # (H)
        ([0.9, 1e-8, "a b"], "[0.9, 1.0e-08, 'a b']"),
        ({"name": "adamw", "lr": 1e-5}, "{name: adamw, lr: 1.0e-05}"),
        ([], "[]"),
    ],
)
def test_overrides(value: object, text: str) -> None:
    assert overrides({"a.b": value}) == (f"a.b={text}",)


def test_bare_text_is_not_quoted() -> None:
    assert [value_text(v) for v in ("a b=c", 1e-5, True, None, [1, "x y"])] == [
        "a b=c",
        "1.0e-05",
        "true",
        "null",
        "[1, 'x y']",
    ]


def same(a: Any, b: Any) -> bool:
    """Equal in value and type all the way down; NaN equals NaN, -0.0 does not equal 0.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float):
        return repr(a) == repr(b)
    return bool(a == b)
