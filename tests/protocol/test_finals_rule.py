from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rltune.analysis.statistics import Spread
from rltune.protocol.finals import (
    Arm,
    Rules,
    Run,
    claim_seeds,
    next_claim,
    next_final,
    nominee,
    shares,
    standing,
    verdict,
)

OURS = Rules()
DEFAULT = Arm("default", (60.0, 62.5, 58.5))
SEARCHED = tuple(Arm(name, (value,)) for name, value in zip("abcdefgh", (66, 64, 62, 61, 59, 57, 55, 20), strict=True))


def finals(worth: dict[str, float], left: int = 11, rules: Rules = OURS) -> Iterator[tuple[Arm, list[Arm], Run]]:
    """Plays the finals; a run of an arm measures its worth, one point up and down in turn."""
    default, others = DEFAULT, list(SEARCHED)
    while run := next_final(default, others, left, rules):
        value = worth.get(str(run.key), 50.0) + (1.0 if run.index % 2 else -1.0)
        default = given_(default, run, value)
        others = [given_(arm, run, value) for arm in others]
        left -= 1
        yield default, others, run


def given_(arm: Arm, run: Run, value: float) -> Arm:
    return replace(arm, final={**arm.final, run.index: value}) if arm.key == run.key else arm


def ended(worth: dict[str, float], left: int = 11, rules: Rules = OURS) -> tuple[Arm, list[Arm], list[Run]]:
    steps = list(finals(worth, left, rules))
    return steps[-1][0], steps[-1][1], [run for *_, run in steps]


def claimed(arm: Arm, *values: float) -> Arm:
    return replace(arm, claim=dict(enumerate(values)))


class TestShares:
    @given(st.integers(8, 1000))
    def test_they_add_up_and_leave_most_for_the_search(self, budget: int) -> None:
        found = shares(budget)
        assert found.baseline + found.search + found.finals + found.claim == budget
        assert found.baseline >= 2
        assert found.claim >= 2
        assert found.claim % 2 == 0
        assert found.search >= budget // 5

    def test_of_thirty_runs(self) -> None:
        found = shares(30)
        assert (found.baseline, found.search, found.finals, found.claim) == (3, 17, 6, 4)

    def test_too_small_a_budget_says_what_is_needed(self) -> None:
        with pytest.raises(ValueError, match="8 runs at least, got 7"):
            shares(7)


class TestNextFinal:
    def test_the_claim_s_runs_are_kept_back(self) -> None:
        *_, runs = ended({"a": 61.0, "b": 61.0, "default": 61.0}, left=11)
        assert len(runs) == 7
        assert next_final(DEFAULT, SEARCHED, left=4) is None

    def test_only_the_best_and_the_default_run(self) -> None:
        *_, runs = ended({"a": 61.0, "b": 61.5, "c": 61.0, "default": 61.0}, left=30)
        assert {run.key for run in runs} <= {"a", "b", "c", "d", "default"}

    def test_the_best_by_its_lucky_run_is_tried_first(self) -> None:
        run = next_final(DEFAULT, SEARCHED, left=11)
        assert run == Run("a", 0)

    def test_each_arm_goes_through_the_seeds_in_order(self) -> None:
        *_, runs = ended({"a": 62.0, "b": 63.0, "default": 61.0}, left=20)
        for key in {run.key for run in runs}:
            indices = [run.index for run in runs if run.key == key]
            assert indices == list(range(len(indices)))

    def test_what_is_decided_leaves_its_runs_to_the_claim(self) -> None:
        *_, runs = ended({"a": 90.0}, left=25)
        assert len(runs) < 8
        assert {run.key for run in runs} == {"a"}

    def test_a_hopeless_field_is_given_up(self) -> None:
        poor = [Arm(name, (value,)) for name, value in zip("abcd", (40.0, 39.0, 38.0, 37.0), strict=True)]
        assert next_final(DEFAULT, poor, left=20) is None

    def test_a_winner_out_of_reach_runs_on_a_fresh_seed_all_the_same(self) -> None:
        far = [Arm("a", (99.0,)), *SEARCHED[3:]]
        assert next_final(DEFAULT, far, left=11) == Run("a", 0)
        done = [replace(far[0], final={0: 99.0}), *far[1:]]
        assert next_final(DEFAULT, done, left=10) is None

    def test_running_runs_are_not_asked_for_again(self) -> None:
        others, default = list(SEARCHED), DEFAULT
        asked = []
        for left in (11, 10, 9, 8):
            run = next_final(default, others, left)
            assert run is not None
            asked.append(run)
            others = [replace(a, running=a.running | {run.index}) if a.key == run.key else a for a in others]
            if run.key == default.key:
                default = replace(default, running=default.running | {run.index})
        assert len(set(asked)) == 4
        assert len({run.key for run in asked}) > 1

    def test_one_that_failed_is_out(self) -> None:
        others = [replace(SEARCHED[0], final={0: math.nan}), *SEARCHED[1:]]
        run = next_final(DEFAULT, others, left=11)
        assert run is not None
        assert run.key != "a"

    def test_without_a_default_the_best_are_compared_among_themselves(self) -> None:
        run = next_final(None, SEARCHED, left=3)
        assert run is not None
        assert run.key in {"a", "b"}

    def test_without_noise_each_finalist_runs_once(self) -> None:
        flat = [Arm(name, (50.0,)) for name in "abc"]
        default, seen = Arm("default", (50.0, 50.0)), []
        others = list(flat)
        for left in range(20, 0, -1):
            run = next_final(default, others, left)
            if run is None:
                break
            seen.append(run.key)
            default, others = given_(default, run, 50.0), [given_(arm, run, 50.0) for arm in others]
        assert sorted(map(str, seen)) == ["a", "b", "c", "default"]

    def test_the_unit_does_not_matter(self) -> None:
        def scaled(arm: Arm) -> Arm:
            return replace(arm, before=tuple(v / 100 for v in arm.before))

        for left in range(5, 12):
            assert next_final(scaled(DEFAULT), [scaled(a) for a in SEARCHED], left) == next_final(
                DEFAULT, SEARCHED, left
            )

    def test_a_study_that_was_killed_goes_on_as_it_would_have(self) -> None:
        steps = list(finals({"a": 62.0, "b": 63.0, "default": 61.0}))
        for (default, others, _), (*_, expected) in pairwise(steps):
            left = 11 - sum(len(arm.final) for arm in (default, *others))
            again = [Arm(a.key, a.before, dict(reversed(a.final.items()))) for a in others]
            assert next_final(default, again, left) == expected


class TestNomination:
    def test_one_that_holds_on_fresh_seeds_is_nominated(self) -> None:
        default, others, _ = ended({"a": 67.0, "default": 60.0})
        found = nominee(default, others)
        assert found is not None
        assert found.key == "a"
        assert found.gain > 3

    def test_one_that_was_only_lucky_is_not(self) -> None:
        default, others, _ = ended({"a": 58.0, "b": 58.0, "c": 58.0, "d": 58.0, "default": 61.0})
        assert nominee(default, others) is None

    def test_no_finalist_without_a_run_on_a_fresh_seed(self) -> None:
        assert standing(DEFAULT, SEARCHED) is None

    def test_one_that_failed_on_a_fresh_seed_is_none(self) -> None:
        others = [replace(SEARCHED[0], final={0: 90.0, 1: math.nan}), replace(SEARCHED[1], final={0: 64.0, 1: 66.0})]
        found = standing(DEFAULT, [*others, *SEARCHED[2:]])
        assert found is not None
        assert found.key == "b"

    def test_a_stricter_user_ships_less(self) -> None:
        default, others, _ = ended({"a": 63.5, "default": 61.0})
        assert nominee(default, others) is not None
        assert nominee(default, others, Rules(nominate=0.999)) is None


class TestClaim:
    def test_seed_by_seed_for_both(self) -> None:
        default, arm, asked = DEFAULT, SEARCHED[0], []
        while run := next_claim(default, arm, 2):
            asked.append((run.key, run.index))
            if run.key == "a":
                arm = replace(arm, claim={**arm.claim, run.index: 1.0})
            else:
                default = replace(default, claim={**default.claim, run.index: 1.0})
        assert asked == [("a", 0), ("default", 0), ("a", 1), ("default", 1)]

    def test_what_is_left_widens_the_claim_up_to_a_limit(self) -> None:
        assert [claim_seeds(left) for left in (3, 4, 7, 8, 40)] == [0, 2, 3, 4, 5]

    def test_it_decides_and_its_gain_is_that_of_its_own_seeds(self) -> None:
        default, others, _ = ended({"a": 67.0, "default": 60.0})
        others = [claimed(arm, 66.0, 65.0) if arm.key == "a" else arm for arm in others]
        found = verdict(claimed(default, 61.0, 60.0), others, "a")
        assert found.ship
        assert found.gain is not None
        assert found.gain.gain == pytest.approx(5.0)

    def test_it_takes_a_nomination_back_and_is_printed_all_the_same(self) -> None:
        default, others, _ = ended({"a": 64.0, "default": 61.0})
        assert nominee(default, others) is not None
        others = [claimed(arm, 54.0, 55.0) if arm.key == "a" else arm for arm in others]
        found = verdict(claimed(default, 63.0, 62.0), others, "a")
        assert not found.ship
        assert found.gain is not None
        assert found.gain.gain == pytest.approx(-8.0)

    def test_a_failed_run_of_the_claim_keeps_the_default(self) -> None:
        default, others, _ = ended({"a": 67.0, "default": 60.0})
        others = [claimed(arm, 66.0, math.nan) if arm.key == "a" else arm for arm in others]
        assert not verdict(claimed(default, 61.0, 60.0), others, "a").ship

    def test_without_a_claim_nothing_is_printed_or_shipped(self) -> None:
        default, others, _ = ended({"a": 67.0, "default": 60.0})
        found = verdict(default, others, "a")
        assert found.gain is None
        assert not found.ship

    def test_knowing_the_noise_beforehand_narrows_the_interval(self) -> None:
        default, others, _ = ended({"a": 67.0, "default": 60.0})
        others = [claimed(arm, 66.0, 65.0) if arm.key == "a" else arm for arm in others]
        ours, known = (
            verdict(claimed(default, 61.0, 60.0), others, "a", rules).gain
            for rules in (Rules(), Rules(prior=Spread(0.7, 20)))
        )
        assert ours is not None
        assert known is not None
        assert known.high - known.low < ours.high - ours.low

    def test_configurations_that_differ_much_do_not_widen_it(self) -> None:
        def width(*searched: float) -> float:
            others = [Arm(name, (value,)) for name, value in zip("abcd", searched, strict=True)]
            others[0] = claimed(replace(others[0], final={0: 95.0, 1: 96.0}), 95.5, 94.5)
            default = Arm("default", (60.0, 61.0, 59.0), {0: 60.0, 1: 61.0}, {0: 60.5, 1: 59.5})
            gain = verdict(default, others, "a").gain
            assert gain is not None
            return gain.high - gain.low

        assert width(96.0, 50.0, 20.0, 5.0) < 1.3 * width(62.0, 61.5, 61.0, 60.0)
