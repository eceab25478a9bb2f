"""Refinement: a space that follows from counts, keeps what it must, and is left alone without evidence."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from rltune.errors import InputError
from rltune.objective import Objective
from rltune.protocol.refine import chance_of_no_better, chance_of_range, chance_of_worse, refine
from rltune.records import TrialRecord
from rltune.space import Categorical, Float, SearchSpace, spec_of
from rltune.types import Cause, Purpose

LOSS = Objective("loss", "minimize")
LR = {"type": "float", "min": 1e-5, "max": 1e-2, "log": True}
X = {"type": "float", "min": 0.0, "max": 1.0}


def study(spec, loss, n=40, seed=0, **parts):
    """`n` random configurations of a space with their losses; NaN is a trial that diverged."""
    space, rng = SearchSpace.from_mapping(spec, **parts), np.random.default_rng(seed)
    records = []
    for number in range(n):
        params = space.sample(rng)
        value = loss(params)
        failed = math.isnan(value)
        state = TrialState.FAIL if failed else TrialState.COMPLETE
        values, cause = (None, Cause.DIVERGED) if failed else ((value,), None)
        records.append(TrialRecord(number, state, Purpose.SEARCH, params, number, values, cause=cause))
    return space, records


def best_of(records):
    return min((r for r in records if r.values), key=lambda r: r.values).params


def refined(space, records, importance=None):
    return refine(space, records, LOSS, best_of(records), importance)


def reasons(found):
    return {change.parameter: change.reason for change in found.changes}


def far(p):
    return (math.log10(p["lr"]) + 3.4) ** 2


# --- ranges ----------------------------------------------------------------------------------------------------------


def test_a_range_shrinks_to_where_the_best_lie_and_says_so():
    space, records = study({"lr": LR, "x": X}, far)
    found = refined(space, records)
    (change,) = found.changes
    lr = found.space.parameters["lr"]
    assert change.parameter == "lr"
    assert change.after.log
    assert 1e-5 < lr.low < 10**-3.4 < lr.high < 1e-2
    assert lr.high / lr.low < 100
    assert change.reason.startswith("the best 8 of 40 lie in ")
    low, high = (float(word) for word in change.reason.split(" lie in ")[1].split(" (")[0].split(" .. "))
    assert lr.low < low < high < lr.high


def test_its_ends_are_readable_and_the_default_is_the_recommended_configuration():
    space, records = study({"lr": LR, "x": X}, far)
    found = refined(space, records)
    lr = found.space.parameters["lr"]
    assert [len(f"{end:e}".split("e")[0].rstrip("0")) for end in (lr.low, lr.high)] <= [3, 3]
    assert found.space.defaults() == best_of(records)


def test_a_prior_gives_way_to_what_was_found():
    space, records = study({"lr": {**LR, "prior": 9e-3}, "x": X}, far)
    found = refined(space, records).space.parameters
    assert found["lr"].high < 9e-3
    assert found["lr"].prior == found["lr"].default == best_of(records)["lr"]
    assert spec_of(found["x"]) == spec_of(Float(0.0, 1.0, default=best_of(records)["x"]))


def test_a_range_about_which_the_trials_say_nothing_is_left_alone():
    for seed in range(5):
        space, records = study({"lr": LR, "x": X, "y": X}, far, seed=seed)
        found = refined(space, records)
        assert found.space.parameters["x"].distribution == space.parameters["x"].distribution, reasons(found)
        assert found.space.parameters["y"].distribution == space.parameters["y"].distribution, reasons(found)


def test_a_range_never_shrinks_below_a_fifth():
    space, records = study({"lr": LR, "x": X}, far, n=400)
    lr = refined(space, records).space.parameters["lr"]
    assert math.log10(lr.high / lr.low) >= 0.2 * 3


def test_at_an_edge_it_grows():
    space, records = study({"lr": LR, "x": X}, lambda p: (math.log10(p["lr"]) + 1.5) ** 2)
    found = refined(space, records)
    assert found.space.parameters["lr"].high == pytest.approx(0.1)
    assert "lies at the upper end" in reasons(found)["lr"]


def test_where_trials_diverge_it_ends_though_nothing_else_is_known():
    space, records = study({"lr": LR, "x": X}, lambda p: math.nan if p["lr"] > 2e-3 else p["x"] % 0.01)
    found = refined(space, records)
    assert 1e-3 < found.space.parameters["lr"].high < 4e-3
    assert "failed as diverged" in reasons(found)["lr"]


def test_steps_and_whole_numbers_stay_what_they_are():
    def narrowed(spec, loss):
        space, records = study({"p": spec}, lambda p: loss(p["p"]), 60)
        found = refined(space, records)
        assert len(found.changes) == 1
        return found.space.parameters["p"]

    group = narrowed({"type": "int", "min": 4, "max": 64, "step": 4}, lambda p: abs(p - 20))
    clip = narrowed({"type": "float", "min": 0.1, "max": 2.0, "step": 0.05}, lambda p: abs(p - 0.3))
    warmup = narrowed({"type": "int", "min": 10, "max": 5000, "log": True}, lambda p: abs(math.log10(p / 300)))
    assert (group.step, group.low % 4, group.high % 4) == (4, 0, 0)
    assert (clip.step, round(clip.low / 0.05, 6) % 1, round(clip.high / 0.05, 6) % 1) == (0.05, 0, 0)
    assert warmup.log
    assert (type(warmup.low), type(warmup.high)) == (int, int)
    assert 10 < warmup.low < 300 < warmup.high < 5000


def test_a_log_range_that_may_also_be_0_keeps_its_0_unless_the_best_are_0():
    spec = {"decay": {"type": "float", "min": 1e-4, "max": 1.0, "log": True, "zero": 0.2}}
    space, records = study(spec, lambda p: abs(math.log10(p["decay"] or 1e-9) + 2))
    decay = refined(space, records).space.parameters["decay"]
    assert 1e-4 < decay.low < 1e-2 < decay.high < 1.0
    assert decay.zero == 0.2
    space, records = study(spec, lambda p: p["decay"])
    assert refined(space, records).changes == ()


# --- choices ---------------------------------------------------------------------------------------------------------

KINDS = {"kind": {"type": "categorical", "choices": ["a", "b", "c"]}, "lr": LR}


def test_a_choice_that_never_did_well_is_dropped_where_it_was_tried_often_enough():
    def loss(p):
        return far(p) + {"a": 0.0, "b": 0.1, "c": 5.0}[p["kind"]]

    space, records = study(KINDS, loss)
    found = refined(space, records)
    assert found.space.parameters["kind"].choices == ("a", "b")
    assert reasons(found)["kind"].startswith("c was tried ")
    few = [r for r in records if r.params["kind"] != "c"] + [r for r in records if r.params["kind"] == "c"][:2]
    assert refined(space, few).space.parameters["kind"].choices == ("a", "b", "c")


def test_a_choice_that_a_condition_needs_stays():
    spec = KINDS | {"momentum": X | {"when": "kind == 'c'"}}

    def loss(p):
        return far(p) + {"a": 0.0, "b": 0.1, "c": 5.0}[p["kind"]]

    space, records = study(spec, loss)
    found = refined(space, records)
    assert found.space.parameters["kind"].choices == ("a", "b", "c")
    (kept,) = found.taken_back
    assert kept.parameter == "kind"
    assert "never holds" in kept.reason
    assert found.space.defaults() is not None


def test_constraints_still_hold():
    spec = {"a": {"type": "int", "min": 1, "max": 32}, "b": {"type": "int", "min": 1, "max": 32}, "lr": LR}
    space, records = study(spec, far, 60, constraints=["a % b == 0"])
    found = refined(space, records)
    rng = np.random.default_rng(0)
    draws = [found.space.sample(rng) for _ in range(20)]
    assert all(p["a"] % p["b"] == 0 for p in draws)
    assert all(space.is_feasible(p) for p in draws)


# --- a parameter without effect --------------------------------------------------------------------------------------


def test_a_parameter_is_fixed_only_by_strong_evidence():
    spec, importance = {"lr": LR, "x": X}, {"lr": 0.99, "x": 0.001}
    space, records = study(spec, far, 80)
    found = refined(space, records, importance)
    x = found.space.parameters["x"]
    assert x.low == x.high == best_of(records)["x"]
    assert "made no difference in 80 configurations" in reasons(found)["x"]
    assert "x" not in reasons(refined(space, records))
    assert "x" not in reasons(refined(space, records[:39], importance))
    assert "x" not in reasons(refined(space, records, importance | {"x": 0.05}))


# --- what is refused, and what never changes -------------------------------------------------------------------------


def test_too_few_trials_say_how_many_are_needed():
    space, records = study({"lr": LR, "x": X}, far, 9)
    with pytest.raises(InputError, match=r"9 configurations have a value, and at least 12 are needed .* by 3 or more"):
        refined(space, records)
    space, records = study({"lr": LR, **{f"x{i}": X for i in range(5)}}, far, 20)
    with pytest.raises(InputError, match="at least 24 are needed"):
        refined(space, records)


def test_the_same_trials_give_the_same_space():
    space, records = study({"lr": LR, "x": X}, far)
    assert refined(space, records) == refined(space, list(reversed(records)))


def test_the_default_of_an_inactive_parameter_lies_in_its_new_range():
    spec = {
        "kind": {"type": "categorical", "choices": ["a", "b"], "default": "a"},
        "momentum": X | {"when": "kind == 'b'", "default": 0.05},
    }
    space, records = study(spec, lambda p: 0.0 if p["kind"] == "a" else 1 + abs(p["momentum"] - 0.8), 80)
    found = refined(space, records)
    momentum = found.space.parameters["momentum"]
    assert "momentum" in reasons(found)
    assert not momentum.contains(0.05)
    assert momentum.contains(momentum.default)


PARAMETERS = st.one_of(
    st.builds(lambda a, b: {"type": "float", "min": min(a, b), "max": max(a, b)}, *[st.floats(-5, 5)] * 2),
    st.builds(
        lambda a, b: {"type": "float", "min": min(a, b), "max": max(a, b), "log": True}, *[st.floats(1e-6, 10)] * 2
    ),
    st.builds(
        lambda a, n, s: {"type": "int", "min": a, "max": a + n, "step": s},
        st.integers(0, 9), st.integers(0, 300), st.integers(1, 7),
    ),
    st.builds(lambda n: {"type": "float", "min": 0.1, "max": 0.1 + 0.05 * n, "step": 0.05}, st.integers(0, 30)),
    st.builds(lambda n: {"type": "categorical", "choices": list(range(n))}, st.integers(1, 5)),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(spec=st.dictionaries(st.sampled_from("abc"), PARAMETERS, min_size=1), seed=st.integers(0, 99), cut=st.booleans())
def test_whatever_was_tried_the_best_stays_inside_and_only_edges_grow(spec, seed, cut):
    """Losses fall towards one corner, so that some spaces shrink and some grow; in some, one end diverges."""
    probe = SearchSpace.from_mapping(spec)

    def loss(p):
        u = probe.to_unit(p)
        return math.nan if cut and u[0] > 0.9 else float(np.sum((u - 0.9) ** 2))

    space, records = study(spec, loss, 60, seed)
    if len({tuple(r.params.values()) for r in records if r.values}) < 12:
        with pytest.raises(InputError, match="needed"):
            refined(space, records)
        return
    found = refined(space, records)
    assert found.space.defaults() == best_of(records)
    for name, old in space.parameters.items():
        new = found.space.parameters[name]
        assert type(new) is type(old)
        assert new.contains(best_of(records)[name])
        if isinstance(old, Categorical):
            assert set(new.choices) <= set(old.choices)
            continue
        grows = "end, as do" in reasons(found).get(name, "")
        assert (old.low <= new.low and new.high <= old.high) or grows
        assert (new.log, new.step) == (old.log, old.step)
        if new.n_values is not None and old.n_values is not None:
            assert old.contains(new.value_at(0)) or grows


# --- the tests behind it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k", "m", "n"), [(2, 3, 6), (3, 3, 7), (4, 6, 8), (3, 7, 7)])
def test_the_chance_of_lying_close_together_counts_all_ways(k, m, n):
    ways = list(itertools.combinations(range(n), k))
    close = [c for c in ways if c[-1] - c[0] + 1 <= m]
    assert chance_of_range(k, m, n) == pytest.approx(len(close) / len(ways))


def test_the_chance_of_being_worse_is_wilcoxons():
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(0)
    outside = [bool(b) for b in rng.random(30) < np.linspace(0.1, 0.9, 30)]
    ranks = np.arange(30)
    mask = np.array(outside)
    expected = mannwhitneyu(
        ranks[mask], ranks[~mask], alternative="greater", method="asymptotic", use_continuity=False
    ).pvalue
    assert chance_of_worse(outside) == pytest.approx(expected)
    assert chance_of_worse([False, False, True, True]) == 1.0


def test_the_chance_of_no_better_rank_counts_all_ways():
    ways = list(itertools.combinations(range(1, 9), 3))
    assert chance_of_no_better(3, 4, 8) == pytest.approx(sum(c[0] >= 4 for c in ways) / len(ways))
