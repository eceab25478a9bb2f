"""Warm start: what an earlier study tried is known, counts against nothing, and is added exactly once."""

import csv
import io
import math
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

import rltune
from rltune import config as cfg
from rltune import records as rec
from rltune import session
from rltune.errors import StudyFileError
from rltune.folder import StudyDir
from rltune.objective import Objective
from rltune.protocol.refine import refine
from rltune.types import Purpose

LR = {"type": "float", "min": 1e-5, "max": 1e-1, "log": True}
X = {"type": "float", "min": 0.0, "max": 1.0}
SPACE = {"lr": LR, "x": X}
LOSS = {"metric": "loss", "direction": "minimize"}


def train(config, trial):
    """Best at lr = 1e-3, x = 0.5; diverges above lr = 0.03."""
    if config["lr"] > 0.03:
        return {"loss": math.nan}
    return {"loss": far(config), "memory": 100 * config["x"]}


def far(params):
    return (math.log10(params["lr"]) + 3) ** 2 + 4 * (params.get("x", 0.5) - 0.5) ** 2


def tune(folder, *, space=SPACE, n=20, metric="loss", **study):
    study = {"executor": "inline", "algorithm": "random", "protocol": "simple", **study}
    return rltune.tune(train, space, metric=metric, out=folder, n_trials=n, **study)


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """The folder of a study of 20 trials."""
    folder = tmp_path_factory.mktemp("old") / "first"
    tune(folder)
    return folder


def earlier(result):
    return [r for r in result.records if r.purpose is Purpose.EARLIER]


def notes(folder, **study):
    """What `check` and `run` say about a study before it starts."""
    mapping = {"search_space": SPACE, "evaluation": LOSS, "executor": "inline", **study}
    return session.prepare(cfg.from_mapping(mapping, trainer=train), StudyDir(folder)).notes


# --- what is taken ---------------------------------------------------------------------------------------------------


def test_complete_trials_are_known_with_everything_that_is_known_about_them(tmp_path, old):
    before, result = rltune.load(old), tune(tmp_path / "second", n=5, seed=1, warm_start=str(old))
    complete = [r for r in before.records if r.state is TrialState.COMPLETE]
    assert len(complete) < 20, "some diverge"
    known = earlier(result)
    assert [r.number for r in known] == list(range(len(complete)))
    for new, was in zip(known, complete, strict=True):
        assert new.source == was.number
        for fact in ("state", "params", "seed", "values", "metrics", "started", "finished"):
            assert getattr(new, fact) == getattr(was, fact), fact


def test_they_count_against_no_budget_no_seed_and_no_time_and_are_not_run_again(tmp_path, old):
    cold = tune(tmp_path / "cold", n=6, seed=1)
    warm = tune(tmp_path / "warm", n=6, seed=1, warm_start=str(old))
    own = rec.own(warm.records)
    assert len(own) == 6
    assert [(r.purpose, r.seed) for r in own] == [(r.purpose, r.seed) for r in cold.records]
    ran = sorted(int(path.name) for path in (tmp_path / "warm" / "trials").iterdir())
    assert ran == [r.number for r in own]
    assert rec.busy_seconds(warm.records) == rec.busy_seconds(own)


def test_with_the_same_seed_nothing_is_run_again(tmp_path):
    """The seeds of the earlier study are not fresh, and its proposals have been made."""
    options = {"algorithm": "random", "seed": 4, "n": 20}
    tune(tmp_path / "first", **options)
    result = tune(tmp_path / "second", warm_start=str(tmp_path / "first"), **options)
    before, after = earlier(result), rec.own(result.records)
    assert len(before) > 10
    assert not {r.seed for r in after} & {r.seed for r in before}
    assert not {tuple(r.params.values()) for r in after} & {tuple(r.params.values()) for r in before}


def test_the_sampler_learns_from_them(tmp_path, old):
    """TPE draws its first ten trials at random, unless there are trials to learn from."""
    options = {"algorithm": "tpe", "n": 8, "seed": 3}
    cold = tune(tmp_path / "cold", **options)
    warm = tune(tmp_path / "warm", warm_start=str(old), **options)
    losses = [sorted(far(r.params) for r in rec.own(result.records)) for result in (cold, warm)]
    assert losses[1][3] < losses[0][3], "the median"


def test_only_what_lies_inside_the_new_space_is_taken_and_the_rest_is_counted(tmp_path, old):
    narrow = SPACE | {"lr": LR | {"min": 1e-4, "max": 1e-2}}
    result = tune(tmp_path / "second", space=narrow, n=2, warm_start=str(old))
    assert 0 < len(earlier(result)) < 20
    assert all(1e-4 <= r.params["lr"] <= 1e-2 for r in earlier(result))
    told = rec.read_warm_start(result.study)
    assert told["trials"] == len(earlier(result))
    assert told["trials"] + sum(told["skipped"].values()) == 20
    (note,) = [n for n in notes(tmp_path / "third", search_space=narrow, warm_start=str(old)) if "warm start" in n]
    assert f"warm start: {told['trials']} of 20 trials of {old} are known from the start; left out: " in note
    assert f"{told['skipped']['outside the search space']} outside the search space" in note
    assert f"{told['skipped']['failed']} failed" in note


@pytest.mark.parametrize("space", [SPACE | {"new": X}, {"lr": LR}])
def test_trials_with_other_parameters_are_left_out(tmp_path, old, space):
    result = tune(tmp_path / "second", space=space, n=2, warm_start=str(old))
    assert earlier(result) == []
    assert rec.read_warm_start(result.study)["skipped"]["with other parameters"] > 0


def test_a_range_may_become_a_step_or_a_choice_and_values_take_the_new_type(tmp_path):
    first = tune(tmp_path / "first", space=SPACE | {"k": {"type": "int", "min": 1, "max": 4}}, n=30)
    space = SPACE | {"k": {"type": "categorical", "choices": [2, 4]}}
    result = tune(tmp_path / "second", space=space, n=3, warm_start=str(tmp_path / "first"))
    complete = [r for r in first.records if r.state is TrialState.COMPLETE]
    assert [r.params for r in earlier(result)] == [r.params for r in complete if r.params["k"] in (2, 4)]


def test_a_third_study_knows_the_first_through_the_second(tmp_path, old):
    second = tune(tmp_path / "second", n=3, seed=1, warm_start=str(old))
    third = tune(tmp_path / "third", n=2, seed=2, warm_start=str(tmp_path / "second"))
    assert len(earlier(third)) == sum(r.state is TrialState.COMPLETE for r in second.records)


def test_they_are_judged_by_the_new_studys_constraints(tmp_path, old):
    evaluation = {"constraints": {"memory": {"max": 30}}}
    result = tune(tmp_path / "second", n=2, warm_start=str(old), evaluation=evaluation)
    assert all(r.feasible == (r.params["x"] <= 0.3) for r in earlier(result))
    unknown = {"constraints": {"speed": {"min": 1}}}
    result = tune(tmp_path / "third", n=2, warm_start=str(old), evaluation=unknown)
    assert not any(r.feasible for r in earlier(result))


def test_pruned_trials_keep_their_curves(tmp_path):
    first = tmp_path / "first"
    tune(first, n=3)
    study = rltune.load(first).study
    study.add_trial(
        rec.optuna.trial.create_trial(
            state=TrialState.PRUNED,
            params={"lr": 1e-3, "x": 0.25},
            distributions=study.trials[0].distributions,
            intermediate_values={1: 3.0, 2: 2.5},
            user_attrs=rec.attributes(Purpose.SEARCH, 7),
        )
    )
    result = tune(tmp_path / "second", n=2, warm_start=str(first))
    pruned = earlier(result)[-1]
    assert (pruned.state, pruned.curve, pruned.seed) == (TrialState.PRUNED, {1: 3.0, 2: 2.5}, 7)


# --- what is refused -------------------------------------------------------------------------------------------------


def test_other_objectives_are_refused_before_anything_runs(tmp_path, old):
    with pytest.raises(StudyFileError, match=r"warm_start: .* is about `loss` \(minimize\), this study `memory`"):
        tune(tmp_path / "second", metric="memory", warm_start=str(old))
    with pytest.raises(StudyFileError, match=r"this study `loss` \(maximize\)"):
        tune(tmp_path / "second", direction="maximize", warm_start=str(old))
    assert not (tmp_path / "second").exists()


def test_what_is_no_study_is_refused(tmp_path, old):
    with pytest.raises(StudyFileError, match=r"warm_start: there is no study in .*nowhere"):
        tune(tmp_path / "second", warm_start=str(tmp_path / "nowhere"))
    with pytest.raises(StudyFileError, match="is this study's own folder"):
        tune(old, warm_start=str(old))


# --- once ------------------------------------------------------------------------------------------------------------


def test_a_study_that_goes_on_adds_nothing_and_no_longer_needs_the_folder(tmp_path, old):
    first = tmp_path / "first"
    shutil.copytree(old, first)
    study = {"n": 8, "seed": 1, "warm_start": str(first)}
    asked = iter([False] * 6)
    mapping = {"search_space": SPACE, "evaluation": LOSS, "executor": "inline", "algorithm": "random"}
    config = cfg.from_mapping({**mapping, "n_trials": 8, "seed": 1, "warm_start": str(first), "protocol": "simple"},
                              trainer=train)  # fmt: skip
    stopped = session.run(config, out=tmp_path / "second", should_stop=lambda: next(asked, True))
    assert stopped.stopped
    known = [(r.number, r.source) for r in earlier(stopped)]
    assert known
    tune(first, n=25)  # the earlier study has gone on meanwhile
    shutil.rmtree(first)
    result = tune(tmp_path / "second", **study)
    assert [(r.number, r.source) for r in earlier(result)] == known
    assert len([r for r in rec.originals(result.records) if r.state.is_finished()]) == 8


@pytest.fixture(scope="module")
def beginning(tmp_path_factory, old):
    """The parts of a second study, and its journal as it is before the first trial."""
    folder = StudyDir(tmp_path_factory.mktemp("second") / "s")
    mapping = {"search_space": SPACE, "evaluation": LOSS, "executor": "inline", "warm_start": str(old)}
    parts = session.prepare(cfg.from_mapping(mapping, trainer=train), folder)
    folder.create()
    tuner = parts.open_tuner(folder)
    return parts, folder.journal.read_bytes(), [(r.source, r.values) for r in tuner.records]


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 1))
def test_a_tuner_killed_while_it_adds_them_neither_loses_nor_doubles_one(beginning, tmp_path_factory, share):
    """Its journal then ends at some byte; the next tuner finds it so."""
    parts, journal, known = beginning
    folder = StudyDir(tmp_path_factory.mktemp("cut") / "s")
    folder.create()
    folder.journal.write_bytes(journal[: round(share * len(journal))])
    for _ in range(2):
        tuner = parts.open_tuner(folder)
        assert [(r.source, r.values) for r in tuner.records] == known
        assert rec.read_warm_start(tuner.study)["trials"] == len(known)


# --- winning ---------------------------------------------------------------------------------------------------------


def test_without_finals_an_earlier_trial_is_not_what_is_recommended(tmp_path, old):
    good = tune(tmp_path / "good", space=SPACE | {"lr": LR | {"min": 9e-4, "max": 1.1e-3}}, n=5)
    result = tune(tmp_path / "second", n=3, seed=5, warm_start=str(tmp_path / "good"))
    assert min(r.value for r in earlier(result)) == good.best.value < result.best.value
    assert result.best.purpose is Purpose.SEARCH


def test_finals_run_an_earlier_configuration_again_and_it_may_win(tmp_path):
    near = {"lr": LR | {"min": 9e-4, "max": 1.1e-3}, "x": X | {"min": 0.45, "max": 0.55}}
    tune(tmp_path / "good", space=near, n=5)
    space = {"lr": LR | {"default": 1e-2}, "x": X | {"default": 0.0}}
    protocol = {"name": "full", "baseline_seeds": 2, "finalists": 1, "final_runs": 2, "claim_seeds": 1}
    result = tune(tmp_path / "second", space=space, n=8, seed=5, warm_start=str(tmp_path / "good"), protocol=protocol)
    known = [r.params for r in earlier(result)]
    finals = [r for r in result.records if r.purpose is Purpose.FINAL]
    assert 1 <= len(finals) <= 2
    assert result.verdict.winner.params in known
    assert result.best.purpose is Purpose.FINAL
    assert result.best.params in known
    assert sum(r.purpose is not Purpose.EARLIER for r in result.records) <= 8


# --- told apart ------------------------------------------------------------------------------------------------------


def test_files_tell_them_apart(tmp_path, old):
    tune(tmp_path / "second", n=2, warm_start=str(old))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "second" / "trials.csv").read_text())))
    assert {row["purpose"] for row in rows} == {"earlier", "search"}
    assert [row["purpose"] for row in rows[-2:]] == ["search"] * 2


# --- from one study to the next --------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_refined_study_begins_where_the_first_ended_and_ends_no_worse(tmp_path, seed):
    first = tune(tmp_path / "first", n=40, seed=seed, algorithm="tpe")
    found = refine(first.space, first.records, Objective("loss"), first.best.params)
    assert {change.parameter for change in found.changes} == {"lr", "x"}
    space = {}
    for name, optimum in (("lr", 1e-3), ("x", 0.5)):
        p = found.space.parameters[name]
        assert p.contains(optimum)
        space[name] = SPACE[name] | {"min": p.low, "max": p.high, "default": p.default}
    warm = {"n": 20, "seed": seed + 1, "algorithm": "tpe", "warm_start": str(tmp_path / "first")}
    second = tune(tmp_path / "second", space=space, **warm)
    best_fifth = sorted(far(r.params) for r in first.records)[8]
    began = [far(r.params) for r in rec.own(second.records)[:5]]
    assert sum(loss <= 2 * best_fifth for loss in began) >= 4, (began, best_fifth)
    assert second.best.value <= first.best.value
