"""Who makes way and where successors start, as functions of the trials alone."""

import itertools

import pytest
from optuna.trial import TrialState

from rltune.objective import Objective
from rltune.protocol.population import Population
from rltune.records import TURN, Origin, TrialRecord
from rltune.types import Cause, Idle, Measurement, Purpose

LOSS = Objective("loss", "minimize")


def population(workers=8, quantile=0.25):
    return Population(LOSS, 8, 10, 10, quantile, 0, workers)


def trial(number, curve, state=TrialState.RUNNING, **fields):
    return TrialRecord(number, state, Purpose.SEARCH, {"x": number}, seed=number, curve=curve, **fields)


def saved(_number, step):
    return step


def up_to(step, loss):
    return dict.fromkeys(range(1, step + 1), float(loss))


@pytest.mark.parametrize("order", [range(8), range(7, -1, -1), (3, 7, 0, 6, 1, 5, 2, 4)], ids=str)
def test_the_same_members_make_way_in_whatever_order_they_come(order):
    rule, stopped = population(), []
    at = dict.fromkeys(range(8), 9)
    for arrived in order:
        at[arrived] = 10
        records = [trial(n, up_to(at[n], n)) for n in range(8)]
        stopped += [n for n in range(8) if n not in stopped and rule.makes_way(n, records, saved)]
        assert set(stopped) <= {6, 7}
    assert sorted(stopped) == [6, 7]


def test_a_member_runs_on_where_nobody_better_has_a_checkpoint():
    records = [trial(n, up_to(10, n)) for n in range(8)]
    assert population().makes_way(7, records, saved)
    assert not population().makes_way(7, records, lambda _number, _step: None)
    equal = [trial(n, up_to(10, 1.0)) for n in range(8)]
    assert not any(population().makes_way(n, equal, saved) for n in range(8))


def test_a_successor_starts_from_one_of_the_best_at_the_step_where_its_lineage_was_stopped():
    records = [trial(n, up_to(35, n)) for n in range(7)]
    records.append(trial(7, up_to(20, 7), TrialState.PRUNED, stopped_by="population"))
    origin = population().next(records, saved)
    assert origin.replaces == 7
    assert origin.parent in (0, 1)
    assert origin.parent_step == 20


def test_a_successor_is_not_judged_by_what_its_parent_had_reached():
    records = [trial(n, up_to(10, n)) for n in range(7)]
    records.append(trial(7, up_to(10, 7), TrialState.PRUNED, stopped_by="population"))
    records.append(trial(8, up_to(10, 0) | {11: 99.0}, origin=Origin(7, 0, 10)))
    assert not population().makes_way(8, records, saved)
    assert population().makes_way(6, records, saved)


def test_members_on_few_workers_wait_for_those_behind_and_the_last_goes_on():
    rule = population(workers=1)
    first = [trial(0, up_to(10, 0))]
    assert rule.takes_turns(0, first, room=True)
    waiting = [trial(n, up_to(10, n), TrialState.PRUNED, stopped_by=TURN) for n in range(7)]
    assert rule.next(waiting, saved) is None  # the eighth lineage begins
    assert not rule.takes_turns(7, [*waiting, trial(7, up_to(10, 3.5))], room=True)
    assert population(workers=8).takes_turns(0, first, room=True) is False


def test_who_is_furthest_behind_goes_on_first():
    waiting = [trial(n, up_to(20 if n else 10, n), TrialState.PRUNED, stopped_by=TURN) for n in range(8)]
    assert population(workers=1).next(waiting, saved) is waiting[0]


def test_a_waiting_member_goes_on_where_no_new_trial_may_begin():
    waiting = [trial(n, up_to(10, n), TrialState.PRUNED, stopped_by=TURN) for n in range(8)]
    taken = population(workers=1).next(waiting, saved, room=False)
    assert taken in waiting
    failed = [*waiting[:7], trial(7, {}, TrialState.FAIL, cause=Cause.DIVERGED)]
    assert population(workers=1).next(failed, saved, room=False) is waiting[0]
    assert not population(workers=1).takes_turns(8, [failed[7], trial(8, up_to(10, 1))], room=False)


def test_a_failed_member_waits_for_somebody_to_start_from_and_begins_anew_where_nobody_is_left():
    running = [trial(n, up_to(5, n)) for n in range(7)]
    failed = trial(7, {}, TrialState.FAIL, cause=Cause.OUT_OF_MEMORY)
    assert population().next([*running, failed], saved) is Idle.WAIT
    later = [trial(n, up_to(10, n)) for n in range(7)]
    assert population().next([*later, failed], saved).parent_step == 10
    all_failed = [trial(n, {}, TrialState.FAIL, cause=Cause.DIVERGED) for n in range(8)]
    assert population().next(all_failed, saved) == Origin(0)


def test_a_member_that_is_repeated_is_not_replaced_as_well():
    complete = [trial(n, up_to(60, n), TrialState.COMPLETE) for n in range(7)]
    lost = trial(7, up_to(15, 7), TrialState.FAIL, cause=Cause.LOST)
    again = trial(8, up_to(60, 7), TrialState.COMPLETE, retry_of=7)
    assert population().next([*complete, lost, again], saved) is Idle.DONE


def test_a_trainer_may_save_after_it_has_measured():
    rule = population()
    measured = [Measurement(n, {"loss": 1.0}) for n in range(1, 11)]
    assert rule.obstacle(measured) is None
    assert rule.obstacle([*measured, Measurement(10, {}, checkpoint="step-10"), Measurement(11, {"loss": 1.0})]) is None
    assert "no checkpoint" in rule.obstacle([*measured, Measurement(11, {"loss": 1.0})])


def test_the_choice_among_the_best_does_not_change_with_a_restart():
    records = [trial(n, up_to(35, n)) for n in range(7)]
    records.append(trial(7, up_to(20, 7), TrialState.PRUNED, stopped_by="population"))
    assert len({population().next(records, saved) for _ in itertools.repeat(None, 5)}) == 1


def test_nor_is_the_successor_of_one_that_failed():
    records = [trial(n, up_to(10, n)) for n in range(7)]
    records.append(trial(7, up_to(15, 7), TrialState.FAIL, cause=Cause.DIVERGED))
    records.append(trial(8, up_to(10, 0) | {11: 99.0}, origin=Origin(7, 0, 10)))
    assert not population().makes_way(8, records, saved)
