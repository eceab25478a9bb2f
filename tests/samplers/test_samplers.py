"""What the contract does not say: each sampler's own promises, and the traps of Optuna that they avoid."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import warnings
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from rltune import records
from rltune.samplers import SAMPLERS, FeasibleSampler, SpaceSampler, make_sampler
from rltune.samplers.grid import GridSampler
from rltune.space import SearchSpace
from rltune.types import Cause, Purpose

GUIDE = SearchSpace.from_mapping(
    {
        "hidden_size": ("categorical", [512, 768, 1024, 1536]),
        "num_attention_heads": ("categorical", [8, 12, 16, 24]),
        "lr": ("float", 1e-5, 1e-3, {"log": True, "n_points": 3}),
        "layers": ("int", 1, 100, {"log": True, "n_points": 3}),
    },
    ["hidden_size % num_attention_heads == 0"],
)


def ask(study: optuna.Study, space: SearchSpace, value: float | None = 0.0) -> dict[str, Any]:
    trial = study.ask()
    params = space.suggest(trial)
    if value is not None:
        study.tell(trial, value)
    return params


def study_of(sampler: BaseSampler) -> optuna.Study:
    return optuna.create_study(sampler=sampler)


class Stubborn(BaseSampler):
    """Always the same infeasible pair; counts its draws and notes each in the journal."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.draws = 0
        self.seen: list[str] = []

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {"hidden_size": GUIDE.distributions["hidden_size"], "elsewhere": GUIDE.distributions["lr"]}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        assert search_space.keys() == {"hidden_size"}  # of another study in the same storage: not ours
        self.draws += 1
        study._storage.set_trial_system_attr(trial._trial_id, "note", self.draws)
        study._storage.set_trial_system_attr(trial._trial_id, "x:relative_params:0", '{"hidden_size": 512}')
        assert study._storage.get_trial_system_attrs(trial._trial_id)["note"] == self.draws
        return {"hidden_size": 512}

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return {"num_attention_heads": 12, "lr": 1e-4, "layers": 7}[param_name]

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.seen.append("before")

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        self.seen.append("after")


# -- any sampler, made feasible ----------------------------------------------------------------------------------------


def test_an_infeasible_draw_never_reaches_the_journal() -> None:
    made: list[Stubborn] = []

    def make(seed: int) -> Stubborn:
        made.append(Stubborn(seed))
        return made[-1]

    study = study_of(FeasibleSampler(GUIDE, 0, make, redraws=3))
    params = ask(study, GUIDE)
    assert GUIDE.is_feasible(params)
    assert params["lr"] == 1e-4  # what the broken constraint does not tie stays as it was drawn
    assert params["layers"] == 7
    assert made[0].draws == 4
    assert [each.seen for each in made] == [["before"], ["after"]]
    (trial,) = study.trials
    assert trial.system_attrs == {"note": 4}  # the last note, and not the draw
    ask(study, GUIDE)
    assert made[0].seed == made[1].seed != made[2].seed


def test_a_sampler_that_was_made_already_is_wrapped() -> None:
    given = Stubborn(0)
    sampler = make_sampler(given, space=GUIDE, seed=0)
    assert isinstance(sampler, FeasibleSampler)
    assert GUIDE.is_feasible(ask(study_of(sampler), GUIDE))
    assert given.draws > 0
    assert make_sampler(sampler, space=GUIDE, seed=0) is sampler


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("random", {}),
        ("sobol", {}),
        ("grid", {}),
        ("tpe", {"n_startup_trials": 3}),
        ("cmaes", {"popsize": 4}),
        ("nsga2", {"population_size": 3}),
    ],
)
def test_a_study_that_was_killed_goes_on_as_if_it_had_not_been(name: str, options: dict[str, Any]) -> None:
    """What ran is closed as lost and runs again; what follows is proposed as if nothing had happened."""
    whole = study_of(make_sampler(name, options, space=GUIDE, seed=3))
    expected = [ask(whole, GUIDE, float(index % 4)) for index in range(12)]

    killed = study_of(make_sampler(name, options, space=GUIDE, seed=3))
    got = [ask(killed, GUIDE, float(index % 4)) for index in range(5)]
    lost = killed.ask()
    assert GUIDE.suggest(lost) == expected[5]
    killed.tell(lost, state=TrialState.FAIL)
    killed.sampler = make_sampler(name, options, space=GUIDE, seed=3)
    killed.enqueue_trial(lost.params, user_attrs=records.attributes(Purpose.SEARCH, 0, retry_of=lost.number))
    got += [ask(killed, GUIDE, float(index % 4)) for index in range(5, 12)]
    assert got == expected


def test_an_infeasible_wish_is_granted() -> None:
    wish = {"hidden_size": 512, "num_attention_heads": 12, "lr": 1e-4, "layers": 3}
    for name in ("tpe", "sobol", "grid"):
        study = study_of(make_sampler(name, space=GUIDE, seed=0))
        study.enqueue_trial(wish)
        if name == "grid":  # no configuration of the grid agrees with it
            wish = {**wish, "hidden_size": 768}
            study.enqueue_trial({**wish, "lr": 2e-4})
        assert ask(study, GUIDE).items() >= ({**wish, "hidden_size": 512}).items()


def test_parameters_beside_the_space_can_be_asked_for() -> None:
    for name in ("random", "tpe", "grid"):
        trial = study_of(make_sampler(name, space=GUIDE, seed=0)).ask()
        params = GUIDE.suggest(trial)
        other = trial.suggest_float("other", 0, 1)
        assert 0 <= other <= 1
        assert trial.params == {**params, "other": other}


def test_a_study_goes_on_alike_in_another_process_with_other_hashes(tmp_path: Path) -> None:
    script = tmp_path / "draw.py"
    script.write_text(
        "import optuna, sys\n"
        "from rltune.samplers import SAMPLERS, make_sampler\n"
        "from rltune.testing.sampler_suite import CONDITIONAL, _loss\n"
        "from rltune.space import SearchSpace\n"
        "optuna.logging.set_verbosity(optuna.logging.ERROR)\n"
        "space = SearchSpace.from_mapping(CONDITIONAL)\n"
        "for name, options in [('tpe', {'n_startup_trials': 4}), ('cmaes', {'popsize': 4}),\n"
        "                      ('nsga2', {'population_size': 4})]:\n"
        "    study = optuna.create_study(sampler=make_sampler(name, options, space=space, seed=1))\n"
        "    for _ in range(12):\n"
        "        trial = study.ask()\n"
        "        params = space.suggest(trial)\n"
        "        study.tell(trial, _loss(params))\n"
        "        print(sorted(params.items()))\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, str(script)], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]
    assert outputs[0] == outputs[1]
    assert outputs[0].count(b"\n") == 36


# -- each of them ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["tpe", "cmaes", "gp"])
def test_models_find_a_better_value_than_they_started_with(name: str) -> None:
    space = SearchSpace.from_mapping({"x": ("float", -5, 5), "y": ("float", -5, 5)}, ["x + y > -6"])
    study = study_of(make_sampler(name, space=space, seed=0))
    for _ in range(20 if name == "gp" else 60):
        trial = study.ask()
        params = space.suggest(trial)
        study.tell(trial, (params["x"] - 2) ** 2 + (params["y"] + 1) ** 2)
    values = [trial.value for trial in study.trials]
    assert np.median(values[-10:]) < 0.5 * np.median(values[:10])  # type: ignore[arg-type]


def test_cmaes_keeps_its_dimensions_when_a_condition_first_fails() -> None:
    """Optuna alone stays random for ever once a parameter that was always active is missing from one trial."""
    space = SearchSpace.from_mapping(
        {
            "kind": ("categorical", ["a", "b"]),
            "x": ("float", 0, 1),
            "y": ("float", 0, 1),
            "z": ("float", 0, 1, {"when": "kind == 'a'"}),
        }
    )
    study = study_of(make_sampler("cmaes", {"popsize": 4}, space=space, seed=0))
    for kind in ["a"] * 6 + ["b"] * 6 + ["a"] * 4:
        study.enqueue_trial({"kind": kind})
        trial = study.ask()
        params = space.suggest(trial)
        study.tell(trial, params["x"] + params["y"])
    generations = [trial.system_attrs.get("cma:generation") for trial in study.trials]
    assert generations[1:] == sorted(generations[1:])
    assert generations[-1] >= 2


def test_cmaes_refuses_what_it_cannot_do() -> None:
    choices = SearchSpace.from_mapping({"a": ("categorical", [1, 2]), "n": ("int", 1, 2, {"when": "a == 1"})})
    with pytest.raises(ValueError, match="`cmaes` needs a number that always varies"):
        make_sampler("cmaes", space=choices, seed=0)
    with pytest.raises(ValueError, match="`cmaes` takes one objective, not 2"):
        make_sampler("cmaes", space=GUIDE, seed=0, n_objectives=2)
    one = SearchSpace.from_mapping({"x": ("float", 0, 1)})
    study = study_of(make_sampler("cmaes", {"use_separable_cma": True}, space=one, seed=0))
    assert all(0 <= ask(study, one)["x"] <= 1 for _ in range(12))


def test_cmaes_is_quiet_about_constraints_on_metrics() -> None:
    study = study_of(make_sampler("cmaes", space=GUIDE, seed=0))
    for _ in range(6):
        trial = study.ask()
        GUIDE.suggest(trial)
        trial.set_constraint("memory_usage", 1.0)
        study.tell(trial, 1.0)  # a warning is an error here


def test_gp_says_how_to_get_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rltune.samplers.gp.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'rltune\[gp\]'"):
        make_sampler("gp", space=GUIDE, seed=0)


def test_tpe_groups_what_is_active_together() -> None:
    conditional = SearchSpace.from_mapping(
        {"kind": ("categorical", ["a", "b"]), "x": ("float", 0, 1, {"when": "kind == 'a'"})}
    )
    for space, n_objectives, group in ((GUIDE, 1, False), (conditional, 1, True), (conditional, 2, False)):
        sampler = make_sampler("tpe", space=space, seed=0, n_objectives=n_objectives)
        assert isinstance(sampler, FeasibleSampler)
        inner = sampler._make(0)
        assert isinstance(inner, optuna.samplers.TPESampler)
        assert inner._group is group
        assert inner._multivariate is (n_objectives == 1)
    with pytest.raises(ValueError, match="`tpe` refuses its options"):
        make_sampler("tpe", {"multivariate": False, "group": True}, space=GUIDE, seed=0)


def test_sobol_points_are_spread_evenly() -> None:
    space = SearchSpace.from_mapping({"x": ("float", 0, 1), "y": ("float", 0, 1)})
    study = study_of(make_sampler("sobol", space=space, seed=0))
    points = [ask(study, space) for _ in range(64)]
    cells = {(int(each["x"] * 8), int(each["y"] * 8)) for each in points}
    assert len(cells) == 64  # one in each: a (0, 6, 2)-net in base 2
    resumed = study_of(make_sampler("sobol", space=space, seed=0))
    assert ask(resumed, space) == points[0]


def test_sobol_gives_way_to_random_draws_where_hardly_anything_is_feasible() -> None:
    space = SearchSpace.from_mapping({"a": ("int", 1, 120), "b": ("int", 1, 120)}, ["a * b == 11449"])
    assert ask(study_of(make_sampler("sobol", space=space, seed=0)), space) == {"a": 107, "b": 107}


def test_random_draws_log_integers_on_their_scale() -> None:
    study = study_of(make_sampler("random", space=GUIDE, seed=0))
    layers = [ask(study, GUIDE)["layers"] for _ in range(400)]
    assert sum(each <= 10 for each in layers) == pytest.approx(200, abs=50)


def test_the_grid_knows_what_was_tried() -> None:
    space = SearchSpace.from_mapping(
        {
            "a": ("categorical", ["x", "y"]),
            "n": ("int", 1, 3, {"when": "a == 'x'"}),
            "s": ("float", 0, 0.4, {"step": 0.1}),
        }
    )
    sampler = make_sampler("grid", space=space, seed=0)
    assert isinstance(sampler, GridSampler)
    study = study_of(sampler)
    assert sampler.remaining(study) == len(space.grid()) == 20
    study.add_trial(
        optuna.trial.create_trial(
            params={"a": "y", "s": 0.1 + 0.2, "n": 2},  # an inactive parameter, a step with rounding, another sampler
            distributions=space.distributions,
            value=1.0,
        )
    )
    study.enqueue_trial({"a": "y", "s": 0.0})
    running, failed = study.ask(), study.ask()
    assert space.suggest(running) == {"a": "y", "s": 0.0}
    space.suggest(failed)
    study.tell(failed, state=TrialState.FAIL)
    assert sampler.remaining(study) == 17
    seen = [tuple(ask(study, space).items()) for _ in range(17)]
    assert len(set(seen)) == 17
    assert sampler.remaining(study) == 0
    again = [tuple(ask(study, space).items()) for _ in range(20)]
    assert len(set(again)) == 20  # starts over, with what was tried least


def test_the_order_of_the_grid_depends_on_the_seed() -> None:
    orders = [
        [ask(study, GUIDE)["lr"] for _ in range(6)]
        for study in (study_of(make_sampler("grid", space=GUIDE, seed=seed)) for seed in (0, 0, 1, 2))
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] or orders[0] != orders[3]


def test_grid_needs_a_finite_space() -> None:
    space = SearchSpace.from_mapping({"x": ("float", 0, 1)})
    with pytest.raises(ValueError, match="`n_points: 5` or `step:`"):
        make_sampler("grid", space=space, seed=0)


# -- by name -----------------------------------------------------------------------------------------------------------


class Mine(SpaceSampler):
    def __init__(self, space: SearchSpace, seed: int, *, greed: float = 0.5, rounds: int | None = None) -> None:
        super().__init__(space, seed)
        self.greed = greed

    def propose(self, study: optuna.Study, trial: FrozenTrial, keep: Any) -> dict[str, Any]:
        return self.space.sample(self.generator(study, trial), keep)


def with_anything(**options: Any) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=len(options))


def needs_an_option(seed: int, width: int) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed + width)


NOT_CALLABLE = 3


def not_a_sampler() -> int:
    return 3


def test_the_names() -> None:
    assert {"auto", "bayesian", "tpe", "gp", "cmaes", "nsga2", "random", "sobol", "grid"} <= set(SAMPLERS.names())


def test_a_sampler_of_ones_own() -> None:
    sampler = make_sampler(f"{__name__}:Mine", {"greed": 0.9}, space=GUIDE, seed=5)
    assert isinstance(sampler, Mine)
    assert (sampler.greed, sampler.seed) == (0.9, 5)
    assert GUIDE.is_feasible(ask(study_of(sampler), GUIDE))
    for path in (f"{__name__}:with_anything", "optuna.samplers:QMCSampler", "optuna.samplers:TPESampler"):
        options = {"x": 1} if "anything" in path else {}
        wrapped = make_sampler(path, options, space=GUIDE, seed=0)
        assert isinstance(wrapped, FeasibleSampler)
        assert GUIDE.is_feasible(ask(study_of(wrapped), GUIDE))
    assert make_sampler(f"{__name__}:needs_an_option", {"width": 2}, space=GUIDE, seed=0)


def test_a_sampler_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", f"{__name__}:Mine", "rltune.samplers")

    def entry_points(group: str, **selected: str) -> EntryPoints:
        return EntryPoints([point]).select(group=group, **selected)

    monkeypatch.setattr("rltune.registry.entry_points", entry_points)
    assert "theirs" in SAMPLERS.names()
    assert isinstance(make_sampler("theirs", space=GUIDE, seed=0), Mine)
    with pytest.raises(ValueError, match="`theirs` refuses its options: a seed is 0 or more, got -1"):
        make_sampler("theirs", space=GUIDE, seed=-1)


@pytest.mark.parametrize(
    ("name", "options", "key", "said"),
    [
        ("tpee", {}, ("name",), "there is no sampler `tpee` (did you mean `tpe`?"),
        ("xyz", {}, ("name",), "known are `auto`, `bayesian`, `cmaes`"),
        ("nowhere.at_all:X", {}, ("name",), "cannot be loaded: No module named 'nowhere'"),
        ("optuna.samplers:X", {}, ("name",), "cannot be loaded"),
        (":X", {}, ("name",), "cannot be loaded"),
        (f"{__name__}:NOT_CALLABLE", {}, ("name",), "is no class and no function"),
        (f"{__name__}:not_a_sampler", {}, ("name",), "gives int, which is not a sampler"),
        (f"{__name__}:needs_an_option", {}, ("width",), "is missing (`"),
        (f"{__name__}:Mine", {"gred": 1}, ("gred",), "did you mean `greed`? `"),
        (f"{__name__}:Mine", {"rounds": "3"}, ("rounds",), "must be a whole number or null, got the text '3'"),
        ("tpe", {"n_startup": 3}, ("n_startup",), "unknown option (did you mean `n_startup_trials`? `tpe` takes"),
        ("tpe", {"n_startup_trials": True}, ("n_startup_trials",), "must be a whole number, got true"),
        ("tpe", {"multivariate": "yes"}, ("multivariate",), "must be true or false or null, got the text 'yes'"),
        ("tpe", {"seed": 3}, ("seed",), "is set by the study"),
        ("tpe", {"gamma": 3}, ("gamma",), "unknown option"),
        ("cmaes", {"popsize": 3}, (), "`popsize` is 4 or more, got 3"),
        ("cmaes", {"with_margin": True}, ("with_margin",), "unknown option"),
        ("random", {"seeds": 3}, ("seeds",), "`random` takes no options"),
        ("nsga2", {"population_size": 1}, (), "`nsga2` refuses its options"),
    ],
)
def test_what_is_refused(name: str, options: dict[str, Any], key: tuple[str, ...], said: str) -> None:
    with pytest.raises(ValueError) as caught:
        make_sampler(name, options, space=GUIDE, seed=0)
    (problem,) = caught.value.problems  # type: ignore[attr-defined]
    assert problem.key == key
    assert said in str(problem)


def test_importing_the_samplers_is_cheap() -> None:
    code = "import sys, rltune.samplers; print([m for m in ('torch', 'scipy.stats', 'cmaes') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_warning_filter_leaks() -> None:
    before = list(warnings.filters)
    make_sampler("tpe", {"group": True}, space=GUIDE, seed=0)
    assert warnings.filters == before


@pytest.mark.parametrize(
    ("cause", "learns"), [(Cause.DIVERGED, True), (Cause.OUT_OF_MEMORY, True), (Cause.LOST, False)]
)
def test_tpe_learns_where_training_fails_by_its_configuration(cause: Cause, learns: bool) -> None:
    space = SearchSpace.from_mapping({"x": {"type": "float", "min": 0.0, "max": 1.0}})
    study = optuna.create_study(sampler=make_sampler("tpe", space=space, seed=0))
    for index in range(30):
        study.enqueue_trial({"x": index / 30})
        trial = study.ask()
        x = space.suggest(trial)["x"]
        if x > 0.3:
            records.write_end(trial, {}, cause)
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, -x)  # improves towards the cliff
    proposals = [space.suggest(study.ask())["x"] for _ in range(20)]
    beyond = sum(x > 0.35 for x in proposals)
    assert (beyond <= 5) is learns
    assert [t.state for t in study.trials if t.params["x"] > 0.9][:2] == [TrialState.FAIL] * 2


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("n_objectives", [2, 3])
def test_gp_takes_several_objectives_and_keeps_constraints_on_metrics(n_objectives: int) -> None:
    """Also where a metric that a constraint needs was never measured, which counts as missed by infinity."""
    space = SearchSpace.from_mapping(dict.fromkeys(("x", "y"), ("float", 0.0, 1.0)))
    sampler = make_sampler("gp", {"n_startup_trials": 6}, space=space, seed=0, n_objectives=n_objectives)
    study = optuna.create_study(directions=["minimize"] * n_objectives, sampler=sampler)
    for index in range(12):
        trial = study.ask()
        x, y = space.suggest(trial).values()
        trial.set_constraint("memory", math.inf if index == 5 else 0.5 - x)
        study.tell(trial, [x + y, (x - 1) ** 2 + y, 1e9 * y][:n_objectives])
    asked = study.trials[6:]
    assert sum(t.params["x"] >= 0.5 for t in asked) >= 4
    assert min(t.params["y"] for t in asked) < 0.1
