"""Population-based training, from the study file to the files that are left."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import count, pairwise
from pathlib import Path

import pytest
from optuna.trial import TrialState
from ruamel.yaml import YAML

import population_toy as toy
from rltune import config as cfg
from rltune import session
from rltune.errors import StudyFileError
from rltune.records import TURN, effective, originals, schedule
from rltune.types import Cause


def study(function=toy.train, executor="inline", algorithm="population", n_trials=100, seed=0, **keys):
    name = {"name": "population", "size": 8, "interval": 10} if algorithm == "population" else algorithm
    given = {
        "algorithm": name,
        "n_trials": n_trials,
        "seed": seed,
        "search_space": toy.SPACE,
        "evaluation": {"metric": "q", "direction": "maximize"},
        "executor": executor,
        "trainer": {"horizon": toy.HORIZON},
        **keys,
    }
    return cfg.from_mapping(given, trainer=function)


def local(workers):
    return {"name": "local", "workers": workers}


def of_population(records, size=8, horizon=toy.HORIZON):
    """Asserts that every lineage is whole: nobody is lost, nobody is replaced twice, and each ends at the horizon."""
    members = effective(records)
    first = {}
    for r in records:
        first[r.number] = r.number if r.retry_of is None else first[r.retry_of]
    retried = [r.retry_of for r in records if r.retry_of is not None]
    assert len(retried) == len(set(retried))
    successors = [r for r in originals(records) if r.origin is not None]
    replaced = [first[r.origin.replaces] for r in successors]
    assert len(replaced) == len(set(replaced))
    stopped = [first[r.number] for r in members if r.state is not TrialState.COMPLETE]
    assert sorted(stopped) == sorted(replaced)
    assert sum(r.origin is None for r in originals(records)) == size
    complete = [r for r in members if r.state is TrialState.COMPLETE]
    assert len(complete) == size
    assert all(max(r.curve) == horizon for r in complete)
    for r in records:
        if r.origin is not None and r.origin.parent is not None:
            assert r.origin.parent_step in records[r.origin.parent].curve
    return complete


def was_given(result, record):
    return json.loads((result.folder.trial(record.number).path / "given.json").read_text())


def by_schedule(result, record):
    """The configuration of each step, as the journal has it."""
    given = []
    for segment in schedule(result.records, record):
        assert segment.begin == len(given)
        given += [[segment.record.params["h0"], segment.record.params["h1"]]] * (segment.end - segment.begin)
    return given


def n_trained(records, record):
    """How many steps a trial ran itself: not those that it found in a checkpoint."""
    if record.retry_of is not None:
        return len(record.curve) - len(records[record.retry_of].curve)
    return len(record.curve) - (0 if record.origin is None else record.origin.parent_step)


@pytest.mark.parametrize("executor", ["inline", local(2), local(8)], ids=["inline", "local-2", "local-8"])
def test_a_trainer_gets_at_each_step_what_the_journal_says(tmp_path, executor):
    result = session.run(study(executor=executor), out=tmp_path / "s")
    complete = of_population(result.records)
    for record in complete:
        assert was_given(result, record) == by_schedule(result, record)
        assert list(record.curve) == list(range(1, toy.HORIZON + 1))
    perturbed = [r for r in result.records if r.origin is not None]
    assert perturbed
    assert all(r.params != result.records[r.origin.parent].params for r in perturbed)
    assert result.exit_code == 0


def test_it_beats_random_search_with_as_many_steps(tmp_path):
    gains = []
    for seed in range(4):
        population = session.run(study(seed=seed), out=tmp_path / f"population-{seed}")
        assert sum(map(partial(n_trained, population.records), population.records)) <= 8 * toy.HORIZON
        independent = session.run(
            study(algorithm="random", n_trials=8, seed=seed, protocol="simple"), out=tmp_path / f"random-{seed}"
        )
        gains.append(population.best.value - independent.best.value)
    assert min(gains) > 0


def test_members_take_turns_where_workers_are_fewer_and_run_on_where_they_are_not(tmp_path):
    few = session.run(study(), out=tmp_path / "few")
    turns = [r for r in few.records if r.stopped_by == TURN]
    assert {max(r.curve) for r in turns if r.number < 7} == {10}  # nobody goes on before all have come to step 10
    assert len(originals(few.records)) < len(few.records)  # turns count against nothing
    many = session.run(study(executor=local(8)), out=tmp_path / "many")
    assert not [r for r in many.records if r.stopped_by == TURN or r.retry_of is not None]


def test_a_study_that_is_stopped_again_and_again_goes_on_with_its_lineages(tmp_path):
    for _ in range(100):
        reports = count()
        result = session.run(study(), out=tmp_path / "s", should_stop=lambda reports=reports: next(reports) > 70)
        if not result.stopped:
            break
    assert sum(r.cause is Cause.INTERRUPTED for r in result.records) > 3
    for record in of_population(result.records):
        assert was_given(result, record) == by_schedule(result, record)


@pytest.mark.parametrize("workers", [2, 8])
def test_a_driver_that_is_killed_loses_no_lineage(tmp_path, workers):
    code = (
        "import sys; from pathlib import Path; import test_population as t; from rltune import session\n"
        f"session.run(t.study(executor=t.local({workers})), out=Path(sys.argv[1]))"
    )
    out, here = tmp_path / "s", Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": str(here), "TOY_SECONDS": "0.01"}
    for wanted in (6, 14):
        driver = subprocess.Popen([sys.executable, "-c", code, str(out)], env=environment)
        deadline = time.monotonic() + 120
        while len(list((out / "trials").glob("*/metrics.jsonl"))) < wanted and driver.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    result = session.run(study(executor=local(workers)), out=out)
    for record in of_population(result.records):
        assert was_given(result, record) == by_schedule(result, record)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (toy.never_saves, "no checkpoint was reported by step 11"),
        (toy.overwrites, "was overwritten at step"),
        (toy.never_resumes, "the trainer must load `trial.resume_from`"),
    ],
)
def test_a_trainer_that_cannot_be_taken_over_from_ends_the_study_early(tmp_path, function, words):
    result = session.run(study(function), out=tmp_path / "s")
    assert words in result.halted
    failed = [r for r in result.records if r.cause is Cause.ERROR]
    assert len(failed) == 1
    assert words in failed[0].message
    assert sum(len(r.curve) for r in effective(result.records)) < 8 * toy.HORIZON / 2


def test_a_member_that_diverges_is_replaced_by_one_that_starts_from_a_good_one(tmp_path):
    result = session.run(study(toy.diverges, guards=["divergence"], n_trials=200), out=tmp_path / "s")
    of_population(result.records)
    diverged = {r.number for r in result.records if r.cause is Cause.DIVERGED}
    assert diverged
    successors = [r for r in result.records if r.origin is not None and r.origin.replaces in diverged]
    assert successors
    assert all(r.origin.parent is not None and r.origin.parent_step >= 10 for r in successors)


def test_n_trials_bounds_the_trials_and_nobody_is_stopped_for_whom_there_is_no_successor(tmp_path):
    result = session.run(study(n_trials=10), out=tmp_path / "s")
    assert len(originals(result.records)) == 10
    of_population(result.records)


def test_checkpoints_are_kept_until_nobody_can_start_from_them(tmp_path):
    tidied, open_at = [], []

    def on_open(tuner, _parts):
        def tidy(folder, *, superseded):
            tidied.append((folder.name, superseded))
            open_at.append(any(r.state is TrialState.RUNNING for r in tuner.records) or not tuner.finished)

        tuner.tidy = tidy

    result = session.run(study(), out=tmp_path / "s", on_open=on_open)
    assert {name for name, _ in tidied} == {f"{r.number:04d}" for r in result.records}
    assert not any(open_at)
    again = {f"{r.retry_of:04d}" for r in result.records if r.retry_of is not None}
    assert {name for name, superseded in tidied if superseded} == again


def test_the_schedule_of_the_best_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    result = session.run(study(), out=Path("s"))  # a relative folder, as `runs/` is
    best, segments = result.best, schedule(result.records, result.best)
    assert len(segments) > 1
    head = result.folder.best_config.read_text().splitlines()[0]
    assert (
        head == f"# The last part of a schedule: trial {best.number} was not trained with these values from the start."
    )
    table = YAML(typ="safe").load(result.folder.best_schedule.read_text())
    assert table["trial"] == best.number
    assert [row["params"] for row in table["schedule"]] == [dict(s.record.params) for s in segments]
    assert table["schedule"][0]["first_step"] == 1
    assert table["schedule"][-1]["last_step"] == toy.HORIZON
    assert all(a["last_step"] + 1 == b["first_step"] for a, b in pairwise(table["schedule"]))

    from rltune.__main__ import main

    words = f"{best.number} ← {segments[-2].record.number} (to step {segments[-1].begin})"
    for verb in (["show", str(best.number), "s"], ["best", "s"]):
        with pytest.raises(SystemExit) as end:
            main(verb)
        assert not end.value.code
        assert words in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        main(["best", "s", "--json"])
    told = json.loads(capsys.readouterr().out)["best"]
    assert told["parent"] == best.origin.parent
    assert told["schedule"] == table["schedule"]


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"trainer": {}}, "trainer.horizon"),
        ({"n_trials": 7}, "n_trials"),
        ({"pruner": "median"}, "pruner"),
        ({"protocol": "full"}, "protocol"),
        ({"study_patience": 3}, "study_patience"),
        ({"algorithm": {"name": "population", "size": 3}}, "algorithm.size"),
        ({"algorithm": {"name": "population", "quantile": 0.6}}, "algorithm.quantile"),
        ({"algorithm": {"name": "population", "quantile": 0.1}}, "algorithm.quantile"),
        ({"algorithm": {"name": "population", "interval": 60}}, "algorithm.interval"),
        ({"algorithm": {"name": "population", "warmup": 80}}, "algorithm.warmup"),
        ({"algorithm": {"name": "population", "perturb": [1.0]}}, "algorithm.perturb"),
        ({"algorithm": {"name": "population", "resample": 2.0}}, "algorithm.resample"),
        ({"evaluation": {"value": "best"}}, "evaluation.value"),
        ({"evaluation": {"early_stopping": True}}, "evaluation.early_stopping"),
        ({"evaluation": {"cross_validation": True}}, "evaluation.cross_validation"),
        ({"evaluation": {"secondary_metrics": ["loss"]}}, "algorithm"),
    ],
)
def test_a_study_that_no_population_can_run_is_refused(tmp_path, keys, place):
    evaluation = {"metric": "q", "direction": "maximize", **keys.get("evaluation", {})}
    config = study(**{**keys, "evaluation": evaluation})
    with pytest.raises(StudyFileError) as refused:
        session.prepare(config, session.study_dir(config, tmp_path / "s"))
    assert place in [".".join(map(str, problem.key)) for problem in refused.value.problems]


def test_an_interval_is_a_tenth_of_the_horizon_where_none_is_given(tmp_path):
    config = study(algorithm={"name": "population"})
    population = session.prepare(config, session.study_dir(config, tmp_path / "s")).plan.population
    assert (population.size, population.interval, population.warmup) == (8, 6, 6)
