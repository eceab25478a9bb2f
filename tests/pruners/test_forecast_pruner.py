"""`forecast` ends what promises little where beginnings tell ends, and nothing where they do not."""

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from rltune.errors import InputError
from rltune.pruners import ForecastPruner, make_pruner

HORIZON = 27


@pytest.fixture(autouse=True)
def _quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def run(curve_of, n, *, direction="minimize", seed=0, **options):
    """So many trainings of configurations x in [0, 1]; how many steps each ran."""
    rng = np.random.default_rng(seed)
    study = optuna.create_study(direction=direction, pruner=ForecastPruner(**options))
    steps = []
    for _ in range(n):
        trial, curve = study.ask(), curve_of(rng.uniform(), rng)
        for step, value in enumerate(curve, start=1):
            trial.report(float(value), step)
            if step < HORIZON and trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, float(curve[-1]))
        steps.append(step)
    return np.array(steps), study


def telling(x, rng):
    """The early order is the last one."""
    time = np.arange(1, HORIZON + 1) / HORIZON
    return x + np.exp(-4 * time) + 0.01 * rng.standard_normal(HORIZON)


def misleading(x, rng):
    """Until two thirds of the training, what is seen has nothing to do with the end."""
    time = np.arange(1, HORIZON + 1) / HORIZON
    return np.where(time < 2 / 3, rng.uniform(), x) + 0.01 * rng.standard_normal(HORIZON)


def test_where_beginnings_tell_the_end_most_are_ended_early_and_the_best_is_kept():
    steps, study = run(telling, 60)
    assert (steps[:4] == HORIZON).all()
    assert steps[4:].mean() < HORIZON / 3
    whole = [t.value for t in study.trials if t.state is TrialState.COMPLETE]
    everything = [t.intermediate_values[1] for t in study.trials]
    assert study.trials[int(np.argmin(everything))].state is TrialState.COMPLETE
    assert study.best_value == min(whole)


def test_where_they_mislead_little_is_ended_before_it_can_be_told():
    ended = [np.mean(run(misleading, 60, seed=seed)[0][4:] < 18) for seed in range(4)]
    assert np.mean(ended) < 0.2
    assert np.mean([np.mean(run(telling, 60, seed=seed)[0][4:] < 18) for seed in range(4)]) > 0.7


def test_more_is_better_gives_the_same():
    less, _ = run(telling, 30)
    more, _ = run(lambda x, rng: -telling(x, rng), 30, direction="maximize")
    assert less.tolist() == more.tolist()


def test_some_are_let_run_whatever_they_promise():
    steps, study = run(telling, 400)
    spared = [t.value for t in study.trials[30:] if t.state is TrialState.COMPLETE and t.value > 0.5]
    assert spared
    assert len(spared) * HORIZON < 0.2 * steps.sum()


def test_impatience_is_what_it_says():
    assert (run(telling, 20, impatience=0.0)[0] == HORIZON).all()
    assert run(telling, 40, impatience=1.0)[0].sum() <= run(telling, 40, impatience=0.05)[0].sum()


def test_a_trial_that_reports_once_or_nothing_at_all_is_left_alone():
    study = optuna.create_study(pruner=ForecastPruner(n_startup_trials=1))
    for _ in range(6):
        trial = study.ask()
        trial.report(1.0, 1)
        assert not trial.should_prune()
        study.tell(trial, 1.0)
    assert not study.ask().should_prune()


def test_it_decides_by_what_is_in_the_study_alone():
    """So a study that was taken up again goes on as if nothing had happened."""
    _, study = run(telling, 20)
    trial = study.ask()
    decisions = []
    for step, value in enumerate(telling(0.5, np.random.default_rng(9)), start=1):
        trial.report(float(value), step)
        frozen = study._storage.get_trial(trial._trial_id)
        decisions.append((study.pruner.prune(study, frozen), ForecastPruner().prune(study, frozen)))
    assert [kept for kept, _ in decisions] == [fresh for _, fresh in decisions]
    assert any(kept for kept, _ in decisions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"impatience": 1.5}, "impatience: must be from 0 to 1, got 1.5"),
        ({"n_startup_trials": 0}, "n_startup_trials: must be at least 1, got 0"),
        ({"horizon": 0}, "horizon: must be at least 1, got 0"),
    ],
)
def test_options_out_of_their_range(options, message):
    with pytest.raises(InputError, match=message):
        make_pruner("forecast", options)
