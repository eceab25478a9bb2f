"""Guards leave trainings alone that are well."""

import random

import pytest

from guards.curves import GUARDS, OBJECTIVE, fires_at, guard, healthy
from rltune.types import Measurement

SEEDS = range(200)


@pytest.mark.parametrize("name", GUARDS)
def test_two_hundred_noisy_runs_that_are_well(name):
    """Among them a KL that grows from 0.005, and an entropy of which 73 % are gone after a twelfth of the steps."""
    judge = guard(name)
    alarms = {seed: found for seed in SEEDS if (found := fires_at(judge, healthy(seed))) is not None}
    assert not alarms


@pytest.mark.parametrize("name", ["collapse", "hacking"])
def test_two_hundred_plateaus_that_only_noise_moves(name):
    judge = guard(name)
    alarms = [seed for seed in SEEDS if fires_at(judge, plateau(seed)) is not None]
    assert not alarms


def plateau(seed, evaluations=30):
    rng = random.Random(seed)
    return [
        Measurement(step, {OBJECTIVE: 0.5 + rng.gauss(0, 0.03), "train/reward": 0.5 + rng.gauss(0, 0.03)})
        for step in range(evaluations)
    ]


@pytest.mark.parametrize("name", GUARDS)
def test_a_trial_that_measures_nothing_of_what_a_guard_watches(name):
    assert fires_at(guard(name), [Measurement(step, {"length": 3.0}) for step in range(40)]) is None
