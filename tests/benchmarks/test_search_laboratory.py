"""The laboratory that compares searches: what it measures is what a reader of its tables takes it for."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from benchmarks.search import arms, curves, prior, problems, report_others, report_values, runs, scores, values
from benchmarks.search.cache import Cache

OURS = problems.groups(None)[problems.OWN]
CURVES = problems.groups(None, curves=True)[problems.OWN]

ASKED: list[int] = []  # seeds for which `counted` was made


def counted(seed):
    ASKED.append(seed)
    return optuna.samplers.RandomSampler(seed)


def fixed(seed):
    return optuna.samplers.PartialFixedSampler(problems.load("smooth", None).optimum, optuna.samplers.RandomSampler(0))


def first_of_all(configurations, values):
    return 0


class Recorder(optuna.pruners.BasePruner):
    """Stops nothing, or every trial at its fifth step, and writes down who reported which step."""

    def __init__(self, last):
        self.last = last
        self.reports = []

    def prune(self, study, trial):
        self.reports.append((trial.number, trial.last_step))
        return trial.last_step == self.last


def recorded(arm, last=None):
    """The arm with a recorder for a stopper, and the recorder."""
    recorder = Recorder(last)
    return replace(arm, _stop=lambda: recorder), recorder


def result(regret, observed=None, recommended=None):
    """A run of the suite `values` in which the last value told is the best, unless said otherwise."""
    observed = observed or list(range(len(regret), 0, -1))
    return {"regret": regret, "observed": observed, "recommended": recommended or {}, "seconds": 0.0}


@pytest.mark.parametrize("name", [*OURS, *CURVES])
def test_the_known_optimum_has_no_regret_and_nothing_is_better(name):
    problem = problems.load(name, None)
    rng = np.random.default_rng(0)
    assert problem.regret(problem.optimum) == problem.final_regret(problem.optimum) == 0
    assert problem.space.is_feasible(problem.optimum)
    assert min(problem.regret(problem.space.sample(rng)) for _ in range(300)) > 0


@pytest.mark.parametrize("name", CURVES)
def test_a_training_ends_at_its_true_loss(name):
    problem = problems.load(name, None)
    params = problem.space.sample(np.random.default_rng(1))
    ends = [problem.curve(params, np.random.default_rng(seed))[-1] for seed in range(200)]
    assert np.mean(ends) == pytest.approx(problem.true(params), abs=0.01)


def test_a_search_that_proposes_the_optimum_has_no_regret():
    found = values.run(problems.load("smooth", None), arms.get(f"{__name__}:fixed"), seed=0, n=4)
    assert values.best_observed(found).tolist() == [0, 0, 0, 0]


def test_the_lucky_configuration_is_judged_by_its_true_value():
    lucky = result([0.2, 0.9, 0.1], observed=[5.0, 4.0, 4.5])
    assert values.best_observed(lucky).tolist() == [0.2, 0.9, 0.9]


def test_a_diverged_training_is_never_the_best():
    diverged = result([9.0, 0.5, 9.0], observed=[None, 1.0, None])
    assert values.best_observed(diverged).tolist() == [9.0, 0.5, 0.5]


def test_a_recommendation_is_one_of_the_trials_that_have_a_value():
    problem = problems.load("smooth", None)
    given = iter([math.nan, 2.0, 1.0, 3.0])
    noisy = replace(problem, observe=lambda params, rng: next(given))
    found = values.run(noisy, arms.get(f"random+{__name__}:first_of_all"), seed=0, n=4)
    assert found["observed"] == [None, 2.0, 1.0, 3.0]
    assert found["recommended"] == {"2": 1, "4": 1}  # after one evaluation there was nothing to recommend
    assert values.recommended(found, 4) == found["regret"][1]


def test_workers_report_in_the_order_of_the_virtual_clock():
    problem = problems.load("curves_parallel", None)
    arm, recorder = recorded(arms.get("random/none"))
    curves.run(problem, arm, seed=0, n=8)
    latest = dict.fromkeys(range(curves.WORKERS), 0)
    for number, step in recorder.reports:
        if number not in latest:
            break  # the first training has ended, and another took its place
        assert step == latest[number] + 1
        latest[number] = step
        assert min(latest.values()) >= math.floor(step * 0.9 / 1.1)  # nobody falls behind by more than the paces
    assert number == curves.WORKERS
    assert max(latest.values()) == problem.n_steps - 1  # of the last step no pruner is asked


def test_a_stopped_training_costs_only_what_it_ran():
    problem = problems.load("curves_parallel", None)
    arm, _ = recorded(arms.get("random/none"), last=5)
    found = curves.run(problem, arm, seed=0, n=10)
    steps = 10 * problem.n_steps
    assert steps / 5 - curves.WORKERS <= found["stopped"] <= steps / 5
    whole = curves.run(problem, arms.get("random/none"), seed=0, n=10)
    assert whole["stopped"] == 0
    assert 10 <= whole["started"] <= 10 + curves.WORKERS


def test_the_same_search_gives_the_same_figures():
    problem = problems.load("curves_cross", None)
    once, again = (curves.run(problem, arms.get("tpe/asha"), seed=3, n=5) for _ in range(2))
    assert once["regret"] == again["regret"]
    assert once["regret"] != curves.run(problem, arms.get("tpe/asha"), seed=4, n=5)["regret"]


def test_the_cache_resumes_to_equal_numbers(tmp_path):
    def measure(n_seeds):
        planned = runs.plan("values", ["smooth"], [f"{__name__}:counted"], n_seeds, 6, None)
        return [runs.execute(run, None, Cache(tmp_path)) for run in planned]

    ASKED.clear()
    first = measure(2)
    assert len(ASKED) == 2
    extended = measure(3)
    assert len(ASKED) == 3  # the first two were not run again
    assert extended[:2] == first
    assert measure(3) == extended
    assert len(list(tmp_path.rglob("*.json"))) == 3


def test_other_code_is_another_run(tmp_path):
    cache = Cache(tmp_path)
    key = {"suite": "values", "case": "p", "arm": "a/b", "seed": 0, "version": "1"}
    assert cache.get(key, lambda: {"figure": 1}) == {"figure": 1}
    assert cache.get({**key, "version": "2"}, lambda: {"figure": 2}) == {"figure": 2}
    assert cache.get(key, lambda: {"figure": 3}) == {"figure": 1}


def test_an_arm_that_fails_is_told_and_not_kept(tmp_path):
    run = runs.Run("values", "smooth", "rltune.no-such-sampler", 0, 4)
    assert "no-such-sampler" in runs.execute(run, None, Cache(tmp_path))["failed"]
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    "name", ["auto", "rltune.tpe", "rltune.samplers.sobol:SobolSampler", f"{__name__}:counted", *arms.PEERS[:-3]]
)
def test_every_way_to_name_a_sampler_leads_to_one(name):
    problem = problems.load("conditional", None)
    assert len(values.run(problem, arms.get(name), 0, 4)["regret"]) == 4


@pytest.mark.parametrize(
    "name", ["asha", "hyperband", "median", "rltune.asha", "rltune.plateau", "optuna.pruners:NopPruner"]
)
def test_every_way_to_name_a_stopper_leads_to_one(name):
    assert isinstance(arms.get(f"random/{name}").stopper(27, 0), optuna.pruners.BasePruner)


def test_a_losing_cell_is_shown():
    base, worse, close = ({0: result([2.0, 2.0, 2.0, end])} for end in (0.5, 0.7, 0.6))
    shipped_badly = {0: result([2.0, 2.0, 2.0, 0.5], recommended={"4": 0})}
    results = {"hill": {"tpe": base, "worse": worse, "close": close, "misguided": shipped_badly}}
    summary = report_values.summarise(results, 4)
    text = "\n".join(report_values.tables(summary))
    assert "- worse on hill, best observed: 0.70 against 0.50 (+0.20)" in text
    assert "- misguided on hill, recommended: 2.00 against 0.50 (+1.50)" in text
    assert len(summary["losing"]) == 2
    assert summary["arms"]["worse"]["ratio"] == pytest.approx(1.4)


def test_evaluations_until_the_baselines_end():
    base, fast = {0: result([3.0, 2.0, 1.0, 0.5])}, {0: result([2.0, 0.4, 0.4, 0.1])}
    figures = report_values.summarise({"hill": {"tpe": base, "fast": fast}}, 4)["arms"]
    assert (figures["tpe"]["evaluations"], figures["fast"]["evaluations"]) == (4, 2)


def test_an_arm_with_few_seeds_is_compared_on_these_alone():
    base = {0: result([1.0] * 4), 1: result([3.0] * 4)}
    few = {0: result([0.5] * 4)}
    figures = report_values.summarise({"hill": {"tpe": base, "few": few}}, 4)["arms"]
    assert figures["few"]["baseline"] == 1.0
    assert figures["few"]["ratio"] == 0.5


def test_a_stopper_is_compared_with_the_same_search_without():
    def run(regret):
        return {0: {"regret": {"5": 1.0, "10": regret}, "started": 10, "stopped": 0, "seconds": 0.0}}

    results = {
        "one": {"tpe/none": run(0.1), "tpe/asha": run(0.3)},
        "two": {"tpe/none": run(0.3), "tpe/asha": run(0.1)},
    }
    summary = report_others.summarise_curves(results, 10)
    against = summary["arms"]["tpe/asha"]["against_none"]
    assert against["one"]["10"] == pytest.approx(0.2)
    assert against["two"]["10"] == pytest.approx(-0.2)
    assert "1 of 2: one |" in " ".join("\n".join(report_others.tables_curves(summary)).split())


def test_every_stopper_comes_with_its_own_search_without():
    planned = {run.arm for run in runs.plan("curves", [], ["tpe/asha", "random"], 1, 10, None)}
    assert planned == {"tpe/asha", "tpe/none", "random/none"}


@pytest.mark.parametrize("name", ["mixed", "floor", "stuck"])
def test_what_is_observed_is_the_truth_on_average(name):
    problem, rng = problems.load(name, None), np.random.default_rng(0)
    for params in (problem.optimum, problem.space.sample(rng)):
        seen = [problem.observe(params, rng) for _ in range(4000)]
        assert np.mean(seen) == pytest.approx(problem.true(params), abs=0.03)
    assert problem.regret(problem.optimum) == 0
    assert min(problem.regret(problem.space.sample(rng)) for _ in range(200)) > 0


@pytest.mark.parametrize(("kind", "share"), [("good", 0.05), ("misleading", 0.99)])
def test_a_prior_has_the_optimum_where_it_says(kind, share):
    problem = problems.load("smooth", None)
    rng = np.random.default_rng(0)
    at, best = (problem.space.to_unit(params) for params in (prior.misplaced(problem, share, rng), problem.optimum))
    draws = rng.normal(at, prior.SD, size=(20_000, len(at)))
    nearer = np.linalg.norm(draws - at, axis=1) < np.linalg.norm(best - at)
    assert nearer.mean() == pytest.approx(prior.DISTANCES[kind], abs=0.02)


def test_a_search_with_a_prior_begins_with_its_centre():
    problem = problems.load("mixed", None)
    centre = prior.misplaced(problem, 0.99, np.random.default_rng([0, 1]))
    found = prior.run(problem, arms.get("random"), 0, 4, "misleading")
    assert found["regret"][0] == pytest.approx(problem.regret(centre))


def test_an_interval_holds_what_it_is_of():
    rng = np.random.default_rng(0)
    samples = [rng.normal(1.0, 0.3, 30), rng.normal(2.0, 0.3, 30)]
    low, high = scores.interval(scores.mean, samples)
    assert low < scores.mean(samples) < high
    wider = scores.interval(scores.mean, samples, problems=True)
    assert wider[0] < low < high < wider[1]
    assert scores.iqm([np.array([0.0, 1.0, 1.0, 100.0])]) == 1.0


@pytest.fixture
def folder(tmp_path):
    """Tables of others: one, called hill."""
    (tmp_path / "others" / "data").mkdir(parents=True)
    (tmp_path / "others" / "data" / "random_ref.json").write_text('{"hill": {"100": 2.0, "median": 5.0, "best": 1.0}}')
    (tmp_path / "others" / "space.py").write_text(
        "from types import SimpleNamespace as Space\n"
        "def param(name, kind, low=0, high=1, log=False, choices=(), cond=None):\n"
        "    return Space(name=name, kind=kind, low=low, high=high, log=log, choices=choices, cond=cond)\n"
    )
    (tmp_path / "others" / "problems.py").write_text(
        "from space import Space, param\n"
        "def hill():\n"
        "    params = [param('kind', 'cat', choices=('flat', 'steep')),\n"
        "              param('x', 'float', 1e-3, 1.0, log=True, cond=('kind', ('steep',))), param('n', 'int', 1, 8)]\n"
        "    true = lambda cfg: 1.0 + cfg.get('x', 4.0)\n"
        "    return Space(space=Space(params=params), kind='made up', best=1.0, true=true,\n"
        "                 observe=lambda cfg, rng: true(cfg) + rng.normal())\n"
        "A, C = {'hill': hill}, {}\n"
    )
    return tmp_path / "others"


def test_tables_of_others_are_read_from_their_folder(folder):
    assert problems.names(folder) == [*problems.names(None), "hill"]
    hill = problems.load("hill", folder)
    assert hill.space.conditional == {"x"}
    assert hill.regret({"kind": "steep", "x": 0.5, "n": 2}) == 0.5
    assert hill.final_regret({"kind": "flat", "n": 2}) == 1.0
    assert len(values.run(hill, arms.get("random"), 0, 4)["observed"]) == 4


@pytest.mark.slow  # 8 s: it starts processes that start processes
def test_the_command_says_what_ran_and_does_it_once(tmp_path):
    first, second = (_command(tmp_path, "--problems", "smooth") for _ in range(2))
    assert "only problems of our own ran" in first
    assert first.splitlines()[:12] == second.splitlines()[:12]
    report = json.loads((tmp_path / "search.json").read_text())
    assert report["values"]["groups"]["our own problems"]["arms"]["tpe"]["runs"] == 2


@pytest.mark.slow  # 4 s: likewise
def test_others_tables_are_shown_apart_and_kept_without_their_names(tmp_path, folder):
    shown = _command(tmp_path, "--problems", "smooth,hill", "--data", str(folder))
    assert "## values: others' tables (1: hill)" in shown
    assert "## values: our own problems (1: smooth)" in shown
    kept = (tmp_path / "search.json").read_text()
    assert "hill" not in kept
    assert "table 1" in kept


def _command(tmp_path, *options):
    few = ["--arms", "tpe,random", "--seeds", "2", "--evaluations", "8"]
    folders = ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "search.json")]
    command = [sys.executable, "-m", "benchmarks.search", *options, *few, *folders]
    root = Path(__file__).parents[2]
    return subprocess.run(
        command, cwd=root, env={"PATH": ""}, capture_output=True, text=True, check=True, timeout=200
    ).stdout
