"""What a study says to `auto`: measured values as they are, and forecasts with their doubt for what was cut short."""

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from rltune import records
from rltune.samplers.auto.encode import Columns
from rltune.samplers.auto.observed import Reader
from rltune.samplers.auto.sampler import SpaceAutoSampler
from rltune.samplers.auto.search import Search
from rltune.space import SearchSpace
from rltune.types import Cause

SPACE = SearchSpace.from_mapping({"x": ("float", 0.0, 1.0)})
COLUMNS = Columns(SPACE)
STEPS = 27


def curve(x):
    """Its beginning tells its end."""
    return [x + 1 / step for step in range(1, STEPS + 1)]


def begin(study, x, n_steps):
    study.enqueue_trial({"x": x})
    trial = study.ask()
    SPACE.suggest(trial)
    for step, value in enumerate(curve(x)[:n_steps], start=1):
        trial.report(value, step)
    return trial


@pytest.fixture
def study():
    """Ten trainings that came to their end."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    for x in np.linspace(0.0, 0.9, 10):
        study.tell(begin(study, float(x), STEPS), curve(x)[-1])
    return study


def read(study):
    current = study._storage.get_trial(study.ask()._trial_id)
    return Reader(COLUMNS, lambda trial: trial.params).read(study, current)


def test_what_was_cut_short_is_its_forecast_and_not_its_last_value(study):
    study.tell(begin(study, 0.25, 6), state=TrialState.PRUNED)
    seen = read(study)
    assert seen.y[:10, 0] == pytest.approx([curve(x)[-1] for x in np.linspace(0.0, 0.9, 10)])
    assert not seen.doubt[:10].any()
    last, end = curve(0.25)[5], curve(0.25)[-1]
    assert abs(seen.y[10, 0] - end) < 0.5 * abs(last - end)
    assert 0 < seen.doubt[10] < seen.y[:10, 0].std()


def test_what_still_runs_is_one_once_it_has_reported(study):
    begin(study, 0.25, 9)
    begin(study, 0.75, 0)
    seen = read(study)
    assert (len(seen.y), seen.n_finished, len(seen.running)) == (11, 10, 2)
    assert abs(seen.y[10, 0] - curve(0.25)[-1]) < 0.2
    assert seen.doubt[10] > 0


def test_the_first_rows_look_as_they_did_when_there_were_no_more(study):
    study.tell(begin(study, 0.25, 6), state=TrialState.PRUNED)
    before = read(study)
    for x in (0.1, 0.2, 0.95):
        study.tell(begin(study, x, STEPS), curve(x)[-1] + 0.1)
    x, y, doubt = read(study).first(11)
    assert (x.tolist(), y.tolist(), doubt.tolist()) == (
        before.x[:11].tolist(),
        before.y[:11, 0].tolist(),
        before.doubt[:11].tolist(),
    )


def test_while_nothing_has_ended_a_beginning_says_next_to_nothing():
    study = optuna.create_study()
    study.tell(begin(study, 0.25, 6), state=TrialState.PRUNED)
    assert read(study).doubt.tolist() == [np.inf]


@pytest.mark.parametrize("end", [TrialState.PRUNED, None], ids=["cut short", "running"])
def test_until_a_training_has_ended_the_evenly_spread_ones_go_on(end):
    """Any number of them, for a study whose stopper ends trainings before the first has come to its end."""
    study = optuna.create_study(sampler=SpaceAutoSampler(SPACE, 0, 3, lambda trial: trial.params))
    proposed = []
    for _ in range(12):
        trial = study.ask()
        proposed.append(SPACE.suggest(trial)["x"])
        for step, value in enumerate(curve(proposed[-1])[:6], start=1):
            trial.report(value, step)
        if end is not None:
            study.tell(trial, state=end)
    assert np.histogram(proposed, bins=4, range=(0.0, 1.0))[0].tolist() == [3, 3, 3, 3]


def test_that_a_trial_still_runs_is_no_sign_that_it_will_not_fail(study):
    failed = begin(study, 0.95, 3)
    records.write_end(failed, {}, Cause.OUT_OF_MEMORY)
    study.tell(failed, state=TrialState.FAIL)
    (alone,) = Search(COLUMNS)._limits(read(study))
    begin(study, 0.97, 3)
    (beside,) = Search(COLUMNS)._limits(read(study))
    at = np.array([[COLUMNS.columns["x"].write(0.97)]])
    assert beside.model.predict(at)[0][0] == pytest.approx(alone.model.predict(at)[0][0], abs=1e-6)
