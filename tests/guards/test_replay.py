"""Guards on real curves: 183 runs of the GRPO digits job with random configurations, 8 to 10 evaluations each."""

import json
from pathlib import Path

import pytest

from guards.curves import OBJECTIVE, fires_at, guard
from rltune.types import Measurement

DATA = Path(__file__).parents[3] / "shared" / "bench" / "data" / "grpo_digits_landscape.jsonl"

START = 0.488
"""The accuracy before training, which `val_at_start` reports."""

COLLAPSED = 0.75 * START
"""A run that ends below has unlearned a quarter of what the policy could do."""

NAMES = {
    "val_reward": OBJECTIVE,
    "train_reward": "train/reward",
    "kl": "train/kl",
    "entropy": "train/entropy",
    "grad_norm": "train/grad_norm",
}


@pytest.fixture(scope="module")
def runs():
    """Each run's measurements, with the accuracy before training, and its accuracy in the end."""
    if not DATA.exists():
        pytest.skip("the recorded runs lie beside the repository, in ../shared, and are not here")
    rows = [json.loads(line) for line in DATA.read_text().splitlines()]
    begin = Measurement(0, {OBJECTIVE: START})
    return [([begin, *map(measurement, row["hist"])], row["final"]) for row in rows]


def measurement(row):
    return Measurement(row["step"], {ours: row[theirs] for theirs, ours in NAMES.items()})


def ended(runs, *names):
    """The accuracies in the end of the runs that one of the guards ends, and of all that collapsed."""
    judges = [guard(name) for name in names]
    killed = [final for run, final in runs if any(fires_at(judge, run) for judge in judges)]
    return killed, [final for _, final in runs if final < COLLAPSED]


def test_collapsed_runs_are_ended_and_good_ones_are_not(runs):
    killed, collapsed = ended(runs, "kl", "grad_norm", "no_signal", "collapse", "hacking")
    right = [final for final in killed if final < COLLAPSED]
    assert len(right) / len(killed) >= 0.95
    assert len(right) / len(collapsed) >= 0.8
    top_quarter = sorted(final for _, final in runs)[len(runs) * 3 // 4]
    assert not [final for final in killed if final >= top_quarter]


@pytest.mark.parametrize("name", ["collapse", "hacking"])
def test_each_guard_is_mostly_right_by_itself(runs, name):
    killed, _ = ended(runs, name)
    assert killed
    assert sum(final < COLLAPSED for final in killed) / len(killed) >= 0.9
