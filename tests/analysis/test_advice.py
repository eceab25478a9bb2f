"""Advice: given where something is wrong, and withheld where nothing is. Studies are real, only trainings are not."""

import math

import pytest
from optuna.trial import TrialState

from rltune import records as rec
from rltune.analysis.advice import after, before
from rltune.analysis.evidence import trend, tried, widened
from rltune.folder import StudyDir
from rltune.objective import Objective
from rltune.protocol.plan import Plan
from rltune.protocol.seeds import SeedLedger
from rltune.records import TrialRecord
from rltune.samplers import make_sampler
from rltune.space import Float, Int, SearchSpace
from rltune.storage import open_study
from rltune.testing.simulator import SimulatedExecutor
from rltune.tuner import Tuner
from rltune.types import Cause, Measurement, Purpose

LOSS = Objective("loss", "minimize")
LR = {"type": "float", "min": 1e-5, "max": 1e-2, "log": True}
X = {"type": "float", "min": 0.0, "max": 1.0}


def run(path, spec, loss, n, seed=0, algorithm="random"):
    """A study of `n` trials of one measurement; noise of 0.1 hangs on each trial's seed."""
    folder, space = StudyDir(path / f"{algorithm}-{seed}"), SearchSpace.from_mapping(spec)
    folder.create()
    sampler = make_sampler(algorithm, {}, space=space, seed=seed, n_objectives=1)
    study = open_study("journal", folder, "s", ["minimize"], sampler=sampler, repair=True)
    plan = Plan([LOSS], (), SeedLedger.of(seed), n_search=n)
    tuner = Tuner(study, space, plan, folder, max_failures=n, first_failures=n)

    def train(suggestion):
        yield Measurement(1, {"loss": loss(suggestion.params) + 0.1 * math.sin(suggestion.seed)}, seconds=1.0)

    SimulatedExecutor().run(tuner, train)
    return space, rec.load(study)


def far(p, optimum=-3.4):
    return (math.log10(p["lr"]) - optimum) ** 2 + sum((p[k] - 0.5) ** 2 for k in p if k != "lr")


def kinds(advice):
    return [(each.kind, each.parameter) for each in advice]


# --- before ----------------------------------------------------------------------------------------------------------


def advised(spec, n=1000):
    return before(SearchSpace.from_mapping(spec), n)


@pytest.mark.parametrize(
    "name", ["lr", "learning_rate", "critic_lr", "policy.optimizer.kwargs.lr", "actor.learningRate"]
)
def test_a_learning_rate_belongs_on_a_log_scale(name):
    (only,) = advised({name: LR | {"log": False}})
    assert (only.kind, only.parameter) == ("linear_scale", name)
    assert "log: true" in only.hint
    (zero,) = advised({name: LR | {"log": False, "min": 0.0}})
    assert "`min` above 0" in zero.hint
    assert advised({name: LR}) == []


def test_so_does_whatever_spans_more_than_two_orders_of_magnitude():
    (only,) = advised({"warmup_steps": {"type": "int", "min": 10, "max": 5000}})
    assert only.kind == "linear_scale"
    assert "2.7 orders" in only.message
    assert advised({"warmup_steps": {"type": "int", "min": 100, "max": 5000, "log": True}}) == []


def test_the_guides_own_search_space_is_fine():
    guide = {
        "learning_rate": LR,
        "batch_size": {"type": "categorical", "choices": [4, 8, 16, 32, 64]},
        "weight_decay": {"type": "float", "min": 0.0, "max": 0.1},
        "warmup_steps": {"type": "int", "min": 100, "max": 5000, "log": True},
        "dropout_rate": {"type": "float", "min": 0.0, "max": 0.3},
        "temperature": {"type": "float", "min": 0.5, "max": 1.5},
        "num_layers": {"type": "int", "min": 6, "max": 24},
    }
    assert advised(guide, 100) == []


def test_too_few_trials_are_said_softly_and_only_where_they_are_too_few():
    spec = {"lr": LR, "x": X}
    (only,) = advised(spec, 12)
    assert only.kind == "few_trials"
    assert only.message == "12 search trials are few for 2 parameters that vary"
    assert "20 in all" in only.hint
    assert advised(spec, 20) == []
    assert advised({"a": {"type": "categorical", "choices": [1, 2]}, "b": {"type": "int", "min": 1, "max": 3}}, 6) == []


def test_parameters_that_are_never_active_together_are_not_added_up():
    branches = {f"x{i}": X | {"when": f"kind == 'k{i}'"} for i in range(4)}
    kind = {"kind": {"type": "categorical", "choices": [f"k{i}" for i in range(4)]}}
    assert advised(kind | branches, 20) == []


def test_a_range_that_is_a_point():
    assert kinds(advised({"lr": LR, "x": X | {"max": 0.0}, "y": LR | {"max": 1.0001e-5}})) == [
        ("constant", "x"),
        ("constant", "y"),
    ]


def test_many_ordered_numbers_are_better_a_range():
    (only,) = advised({"lr": {"type": "categorical", "choices": [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3]}})
    assert only.kind == "ordered_choices"
    assert "{type: float, min: 1e-05, max: 0.003, log: true}" in only.hint
    assert advised({"a": {"type": "categorical", "choices": ["a", "b", "c", "d", "e", "f"]}}) == []


# --- after -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["random", "tpe"])
def test_a_healthy_study_hears_nothing(tmp_path, algorithm):
    spec = {"lr": LR, "x": X, "layers": {"type": "int", "min": 1, "max": 6}}

    def loss(p):
        return far({"lr": p["lr"], "x": p["x"]}) + (p["layers"] - 3.4) ** 2 / 5

    for seed in range(3):
        space, records = run(tmp_path, spec, loss, 40, seed, algorithm)
        assert kinds(after(space, records, LOSS, dict.fromkeys(spec, 0.3))) == []
        assert kinds(after(space, records, LOSS)) == []


def test_parameters_without_effect_are_not_taken_to_lie_at_an_edge(tmp_path):
    spec = {"lr": LR, "a": X, "b": X, "c": X}
    for seed in range(4):
        space, records = run(tmp_path, spec, lambda p: far({"lr": p["lr"]}), 40, seed)
        assert "edge" not in [kind for kind, _ in kinds(after(space, records, LOSS))]


def test_the_best_at_the_end_of_a_range(tmp_path):
    space, records = run(tmp_path, {"lr": LR, "x": X}, lambda p: far(p, optimum=-1.0), 30)
    (edge,) = after(space, records, LOSS)
    assert (edge.kind, edge.parameter) == ("edge", "lr")
    assert "upper end" in edge.message
    assert edge.hint == "try `max: 0.1` in place of 0.01"


def test_a_natural_bound_is_no_edge_to_widen(tmp_path):
    spec = {"weight_decay": {"type": "float", "min": 0.0, "max": 0.1}, "lr": LR}
    space, records = run(tmp_path, spec, lambda p: 20 * p["weight_decay"] + far({"lr": p["lr"]}) / 10, 40)
    order = tried(records, LOSS)
    assert order[0].params["weight_decay"] < 0.005
    assert after(space, records, LOSS) == []


@pytest.mark.parametrize(
    ("name", "parameter", "upper", "wider"),
    [
        ("lr", Float(1e-5, 1e-3, log=True), True, 1e-2),
        ("lr", Float(1e-5, 1e-3, log=True), False, 1e-6),
        ("weight_decay", Float(0.0, 0.1), True, 0.15),
        ("weight_decay", Float(0.0, 0.1), False, None),
        ("temperature", Float(0.5, 1.5), False, 0.25),
        ("dropout", Float(0.0, 1.0), True, None),
        ("adam.beta2", Float(0.9, 0.999), True, None),
        ("adam.beta1", Float(0.8, 0.9), True, 0.95),
        ("shift", Float(-1.0, 1.0), False, -2.0),
        ("group", Int(4, 16, step=4), True, 20),
        ("group", Int(4, 16, step=4), False, None),
        ("epochs", Int(1, 4), False, None),
        ("epochs", Int(1, 4), True, 5),
        ("layers", Int(2, 64, log=True), True, 360),
        ("clip", Float(0.1, 0.35, step=0.05), True, 0.45),
    ],
)
def test_how_far_a_range_can_be_widened(name, parameter, upper, wider):
    assert widened(name, parameter, upper=upper) == (None if wider is None else pytest.approx(wider))


def test_where_trials_diverge_the_range_ends(tmp_path):
    def loss(p):
        return math.nan if p["lr"] > 2e-3 else far(p)

    space, records = run(tmp_path, {"lr": LR, "x": X}, loss, 40)
    (only,) = after(space, records, LOSS)
    assert (only.kind, only.parameter) == ("failures", "lr")
    bound = float(only.hint.split()[-1])
    assert 1e-3 < bound < 4e-3
    assert only.message.endswith("failed as diverged, and 0 of the 31 others")
    assert only.hint.startswith("lower its `max` to")


def test_a_choice_that_runs_out_of_memory():
    batches = [8, 16, 32] * 8
    space = SearchSpace.from_mapping({"batch": {"type": "categorical", "choices": [8, 16, 32]}, "x": X})
    records = [
        TrialRecord(
            i,
            TrialState.FAIL if batch == 32 else TrialState.COMPLETE,
            Purpose.SEARCH,
            {"batch": batch, "x": (i * 0.37) % 1},
            values=None if batch == 32 else ((i * 0.61) % 1,),
            cause=Cause.OUT_OF_MEMORY if batch == 32 else None,
        )
        for i, batch in enumerate(batches)
    ]
    (only,) = after(space, records, LOSS)
    assert str(only) == (
        "8 of 8 configurations with `batch` = 32 failed as out of memory, and 0 of the 16 others; "
        "take it off the `choices`"
    )


def test_failures_all_over_the_range_point_nowhere(tmp_path):
    def loss(p):
        return math.nan if math.sin(1e6 * p["x"]) > 0 else far(p)

    space, records = run(tmp_path, {"lr": LR, "x": X}, loss, 40)
    assert after(space, records, LOSS) == []


def test_errors_in_the_code_say_nothing_about_a_range():
    space = SearchSpace.from_mapping({"x": X})
    records = [
        TrialRecord(i, TrialState.FAIL, Purpose.SEARCH, {"x": i / 30}, cause=Cause.ERROR) if i > 20
        else TrialRecord(i, TrialState.COMPLETE, Purpose.SEARCH, {"x": i / 30}, values=((i * 0.61) % 1,))
        for i in range(30)
    ]  # fmt: skip
    assert after(space, records, LOSS) == []
    assert len(tried(records, LOSS)) == 21


def test_a_parameter_without_effect_takes_trials_and_evidence(tmp_path):
    spec, importance = {"lr": LR, "idle": X, "x": X}, {"lr": 0.9, "idle": 0.001, "x": 0.09}

    def loss(p):
        return far({"lr": p["lr"], "x": p["x"]})

    space, records = run(tmp_path, spec, loss, 40, seed=1)
    (only,) = after(space, records, LOSS, importance)
    assert str(only).startswith("`idle` made no difference in 40 configurations (importance 0.001)")
    assert after(space, records, LOSS) == []
    assert [k for k, _ in kinds(after(space, records[:20], LOSS, importance))] in ([], ["budget"])
    assert after(space, records, LOSS, {"lr": 0.001, "idle": 0.9, "x": 0.09}) == []


def study_of(values):
    return [
        TrialRecord(i, TrialState.COMPLETE, Purpose.SEARCH, {"a": i % 7 / 7, "b": i % 5 / 5}, values=(v,))
        for i, v in enumerate(values)
    ]


def test_a_search_that_was_still_improving_wants_more_trials():
    space = SearchSpace.from_mapping({"a": X, "b": X})
    (only,) = after(space, study_of([1.0, 0.9, 1.1] * 4 + [0.9, 1.0, 0.5]), LOSS)
    assert only.kind == "budget"
    assert "trial 14" in only.message
    assert after(space, study_of([0.5] + [1.0, 0.9, 1.1] * 5), LOSS) == []
    assert after(space, study_of([1.0, 0.9, 1.1] * 8 + [0.5]), LOSS) == []


def test_at_most_six_pieces_the_gravest_first():
    spec = {f"p{i}.lr": LR | {"log": False} for i in range(9)}
    assert len(before(SearchSpace.from_mapping(spec), 3)) == 6


def test_nothing_is_said_before_enough_was_tried(tmp_path):
    space, records = run(tmp_path, {"lr": LR}, lambda p: far(p, optimum=-1.0), 8)
    assert after(space, records, LOSS, {"lr": 1.0}) == []


# --- what was tried --------------------------------------------------------------------------------------------------


def test_a_configuration_counts_once_by_its_mean_and_failures_come_last():
    def record(number, x, value=None, **fields):
        state = TrialState.COMPLETE if value is not None else TrialState.FAIL
        return TrialRecord(
            number, state, Purpose.SEARCH, {"x": x}, values=None if value is None else (value,), **fields
        )

    records = [
        record(0, 0.1, 1.0),
        record(1, 0.1, 3.0),
        record(2, 0.2, 1.5),
        record(3, 0.3, 0.0, violations={"memory": 1.0}),
        record(4, 0.4, cause=Cause.DIVERGED),
        record(5, 0.5, cause=Cause.LOST),
    ]
    assert [(t.params["x"], t.value) for t in tried(records, LOSS)] == [(0.2, 1.5), (0.1, 2.0), (0.3, 0.0), (0.4, None)]


def test_the_trend_is_spearmans_rank_correlation():
    from scipy.stats import spearmanr

    numbers = [0.3, 0.1, 0.4, 0.1, 0.5, 0.9, 0.2, 0.6]
    expected = spearmanr(range(8), numbers).statistic * math.sqrt(7)
    assert trend(numbers) == pytest.approx(expected)
    assert trend([0.5] * 8) == 0.0


class TestUnevenHeads:
    SHAPES = {  # noqa: RUF012
        "hidden_size": {"type": "categorical", "choices": [512, 768, 1024, 1536]},
        "num_attention_heads": {"type": "categorical", "choices": [8, 12, 16, 24]},
    }

    def test_shapes_that_no_model_has_are_named_with_the_constraint(self):
        (advice,) = before(SearchSpace.from_mapping(self.SHAPES), 100)
        assert advice.kind == "uneven_heads"
        assert "`hidden_size` is no multiple of `num_attention_heads`" in advice.message
        assert 'constraints: ["hidden_size % num_attention_heads == 0"]' in advice.hint

    def test_with_the_constraint_there_is_nothing_to_say(self):
        constraint = "hidden_size % num_attention_heads == 0"
        assert before(SearchSpace.from_mapping(self.SHAPES, [constraint]), 100) == []

    def test_nor_where_all_go_together(self):
        space = {**self.SHAPES, "num_attention_heads": {"type": "categorical", "choices": [8, 16]}}
        assert before(SearchSpace.from_mapping(space), 100) == []
