"""The guide's snippets, one test each: the same job through rltune, with a real small training behind it.

The training is `examples.digits`: a small network that learns to read digits. Where a snippet has a fault, the test
holds rltune to what its reader meant.
"""

import math

import pytest
from examples.digits import dataset, train
from optuna.trial import TrialState

import rltune
from rltune import AutomatedHyperparameterOptimization, HyperparameterManager, OptimizationObjective
from rltune.analysis.selection import ranked
from rltune.errors import InputError
from rltune.evaluation.folds import fold_values
from rltune.types import Cause

pytestmark = pytest.mark.slow

FAST = {"executor": {"workers": 2}, "protocol": "simple"}
LR = {"type": "float", "min": 1e-5, "max": 1e-3, "log": True}

TWO = {"learning_rate": ("float", 1e-5, 1e-3, {"log": True}), "batch_size": ("categorical", [16, 32, 64])}
ARCHITECTURE = {
    "hidden_size": ("categorical", [512, 768, 1024, 1536]),
    "num_layers": ("int", 6, 24),
    "num_attention_heads": ("categorical", [8, 12, 16, 24]),
    "learning_rate": LR,
    "gradient_accumulation_steps": ("int", 1, 8),
    "dropout_rate": ("float", 0.0, 0.3),
    "max_grad_norm": ("float", 0.1, 2.0),
}
RESULTS = {"validation_loss": 0.5, "memory_usage": 3e9}


def quick(config, trial):
    """The digits job with three epochs, for searches that only have to be seen to work."""
    return train({**config, "max_epochs": 3}, trial, seed=trial.seed)


def test_hyperparameters():
    """The guide's values as they stand are a configuration: the default of a study, which runs first."""
    mine = {"learning_rate": 1e-4, "weight_decay": 0.01, "warmup_steps": 1000, "batch_size": 16}
    space = {
        "learning_rate": {**LR, "default": mine["learning_rate"]},
        "weight_decay": {"type": "float", "min": 0.0, "max": 0.1, "default": mine["weight_decay"]},
        "warmup_steps": {"type": "int", "min": 100, "max": 5000, "log": True, "default": mine["warmup_steps"]},
        "batch_size": {"type": "categorical", "choices": [8, 16, 32], "default": mine["batch_size"]},
    }
    result = rltune.tune(quick, space, metric="validation_loss", n_trials=3, **FAST)
    assert dict(result.records[0].params) == mine


class TestObjectives:
    def test_as_in_the_guide(self):
        objective = OptimizationObjective("validation_loss", constraints={"memory_usage": (0, 70e9)})
        assert objective.evaluate(RESULTS) == 0.5
        assert objective.evaluate({**RESULTS, "memory_usage": 80e9}) == math.inf

    def test_open_ends_and_the_other_direction(self):
        objective = OptimizationObjective("accuracy", {"memory_usage": (None, 70e9)}, direction="maximize")
        assert objective.evaluate({"accuracy": 0.9, "memory_usage": 1.0}) == 0.9
        assert objective.evaluate({"accuracy": 0.9, "memory_usage": 1e11}) == -math.inf

    def test_a_missing_metric_is_named_with_what_was_there(self):
        with pytest.raises(InputError, match=r"`validation_los` was not measured .*did you mean `validation_loss`"):
            OptimizationObjective("validation_los").evaluate(RESULTS)
        with pytest.raises(InputError, match="`kl` was not measured"):
            OptimizationObjective("validation_loss", {"kl": (None, 1.0)}).evaluate(RESULTS)

    def test_in_a_study_infeasible_is_not_infinite(self):
        """Its value and by how much it misses are kept, the sampler is told, and the feasible rank first."""
        result = rltune.tune(
            quick,
            {"learning_rate": LR, "hidden_size": ("categorical", [512, 1024])},
            metric=OptimizationObjective("validation_loss", constraints={"accuracy": (0.5, None)}),
            n_trials=8,
            pruner="none",
            **FAST,
        )
        missed = [r for r in result.records if not r.feasible]
        assert missed
        assert all(math.isfinite(r.value) and r.violations["accuracy"] > 0 for r in missed)
        assert [r.feasible for r in ranked(result.records, result.objectives[0])] == sorted(
            (r.feasible for r in result.records), reverse=True
        )
        assert all("constraints" in str(result.study.trials[r.number].system_attrs) for r in missed)


def test_grid_search():
    space = {
        "learning_rate": ("categorical", [1e-4, 5e-4]),
        "batch_size": ("categorical", [16, 32]),
        "weight_decay": ("categorical", [0.0, 0.1]),
    }
    result = rltune.tune(quick, space, metric="validation_loss", algorithm="grid", **FAST)
    assert len({tuple(r.params.values()) for r in result.records}) == len(result.records) == 8
    assert result.best.value == min(r.value for r in result.records)


class TestRandomSearch:
    def test_ranges_and_scales(self):
        space = {
            "learning_rate": LR,
            "batch_size": {"type": "int", "min": 4, "max": 64, "log": True},
            "weight_decay": ("float", 0.0, 0.1),
            "warmup_steps": ("int", 100, 5000, {"log": True}),
        }
        result = rltune.tune(quick, space, metric="validation_loss", algorithm="random", n_trials=6, **FAST)
        for record in result.records:
            assert record.cause is None, record.message
            assert 1e-5 <= record.params["learning_rate"] <= 1e-3
            assert isinstance(record.params["batch_size"], int)

    def test_a_log_scale_that_begins_at_zero(self):
        """The guide takes the logarithm of 0. Here it is refused before anything runs, with both ways out."""
        space = {"weight_decay": ("float", 0.0, 0.1, {"log": True})}
        with pytest.raises(rltune.RltuneError) as caught:
            rltune.tune(quick, space, metric="validation_loss")
        assert "must be above 0 with `log: true`" in str(caught.value)
        assert "use a linear scale, without `log`; or raise it, and keep 0 by `zero`" in str(caught.value)

    def test_the_mixture_that_it_offers(self):
        space = {"weight_decay": {"type": "float", "min": 1e-5, "max": 0.1, "log": True, "zero": 0.4}}
        result = rltune.tune(quick, space, metric="validation_loss", algorithm="random", n_trials=8, **FAST)
        decays = [r.params["weight_decay"] for r in result.records]
        assert 0 < decays.count(0.0) < 8
        assert all(r.cause is None for r in result.records)


def test_bayesian_optimization():
    space = {
        "learning_rate": LR,
        "batch_size": ("categorical", [4, 8, 16, 32, 64]),
        "weight_decay": ("float", 0.0, 0.1),
        "warmup_steps": ("int", 100, 5000, {"log": True}),
        "dropout_rate": ("float", 0.0, 0.3),
    }
    result = rltune.tune(quick, space, metric="validation_loss", algorithm="bayesian", n_trials=14, **FAST)
    assert len(result.records) == 14
    assert result.best.value == min(r.value for r in result.records if r.values)
    assert result.study.best_value == result.best.value  # it is an Optuna study


class TestOptuna:
    """TPE with a seed, the median pruner with its two numbers, a number of trials and a timeout."""

    def test_as_one_call(self):
        result = rltune.tune(
            quick,
            ARCHITECTURE,
            metric="validation_loss",
            algorithm={"name": "tpe"},
            seed=42,
            pruner={"name": "median", "n_startup_trials": 5, "n_warmup_steps": 100},
            n_trials=6,
            timeout_hours=1,
            **FAST,
        )
        assert type(result.study.pruner).__name__ == "MedianPruner" or result.config.pruner.name == "median"
        assert {r.state for r in result.records} == {TrialState.COMPLETE}  # none reached its 100th step

    def test_its_pruner_gets_reports(self):
        """In the guide nothing is ever reported, so nothing can be pruned."""

        def reporting(config, trial):
            for step in range(1, 6):
                trial.report(step, validation_loss=config["x"] + 1 / step)

        result = rltune.tune(
            reporting,
            {"x": ("float", 0.0, 1.0)},
            metric="validation_loss",
            algorithm="random",
            pruner={"name": "median", "n_startup_trials": 3, "n_warmup_steps": 2},
            n_trials=20,
            executor="inline",
            protocol="simple",
        )
        pruned = [r for r in result.records if r.state is TrialState.PRUNED]
        assert pruned
        assert all(max(r.curve) == 2 for r in pruned)

    def test_shapes_that_cannot_be_combined_are_never_proposed(self):
        """12 heads share 768 and 1536 evenly, and not 512; the guide proposes it all the same."""
        result = rltune.tune(
            lambda config: 0.0,
            ARCHITECTURE,
            metric="validation_loss",
            constraints=["hidden_size % num_attention_heads == 0"],
            n_trials=60,
            executor="inline",
            protocol="simple",
        )
        shapes = {(r.params["hidden_size"], r.params["num_attention_heads"]) for r in result.records}
        assert (768, 12) in shapes or (1536, 12) in shapes
        assert all(size % heads == 0 for size, heads in shapes)


class TestRayTune:
    """The guide's distributed example; on this machine, by processes."""

    @staticmethod
    def training_function(config):
        for epoch in range(1, config["max_epochs"] + 1):
            loss = train({**config, "max_epochs": epoch})["validation_loss"]
            rltune.report(validation_loss=loss, epoch=epoch)  # what Ray of today refuses: it takes a mapping

    @pytest.mark.parametrize("executor", ["inline", {"workers": 2}], ids=str)
    def test_its_function_its_space_and_its_scheduler_as_rays_users_write_them_today(self, tmp_path, executor):
        tune = pytest.importorskip("ray.tune")

        def training_function(config):
            for epoch in range(config["max_epochs"]):
                loss = train({**config, "max_epochs": epoch + 1})["validation_loss"]
                tune.report({"validation_loss": loss, "epoch": epoch})

        result = rltune.tune(
            training_function,
            {
                "learning_rate": tune.loguniform(1e-5, 1e-3),
                "batch_size": tune.choice([16, 32]),
                "warmup_steps": tune.lograndint(100, 5000),
                "dropout_rate": tune.uniform(0.0, 0.3),
                "max_epochs": 10,
            },
            metric="validation_loss",
            pruner={
                "name": "asha",
                "time_attr": "epoch",
                "max_t": 3,
                "grace_period": 1,
                "reduction_factor": 2,
                "metric": "validation_loss",
                "mode": "min",
            },
            n_trials=8,
            executor=executor,
            protocol="simple",
            out=tmp_path / "s",
        )
        assert {r.state for r in result.records} == {TrialState.COMPLETE, TrialState.PRUNED}
        assert {max(r.curve) for r in result.records if r.state is TrialState.COMPLETE} == {3}
        assert result.best.value == min(r.value for r in result.records if r.state is TrialState.COMPLETE)

    def test_its_training_function_and_its_scheduler(self):
        space = {"learning_rate": LR, "dropout_rate": ("float", 0.0, 0.3)}
        result = rltune.tune(
            self.training_function,
            space,
            metric="validation_loss",
            pruner={"name": "halving", "min_resource": 1, "reduction_factor": 2},
            config={"max_epochs": 4},
            n_trials=8,
            **FAST,
        )
        assert {r.state for r in result.records} == {TrialState.COMPLETE, TrialState.PRUNED}

    def test_a_mapping_does_as_well(self):
        def training_function(config):
            rltune.report({"validation_loss": config["x"], "epoch": 1})

        result = rltune.tune(
            training_function, {"x": ("float", 0.0, 1.0)}, metric="validation_loss", n_trials=2, **FAST
        )
        assert all(r.value == r.params["x"] for r in result.records)


class TestCrossValidation:
    def test_the_guides_function(self, capsys):
        scores = rltune.cross_validate_hyperparameters(
            {"learning_rate": 3e-4, "max_epochs": 3}, n_splits=5, train=train, data=dataset(), metric="validation_loss"
        )
        assert scores.keys() == {"mean_score", "std_score", "scores", "n_splits"}
        assert len(scores["scores"]) == scores["n_splits"] == 5
        assert scores["mean_score"] == pytest.approx(sum(scores["scores"]) / 5)
        assert capsys.readouterr().out.startswith("Fold 1: ")

    def test_a_study_whose_trials_are_cross_validated(self):
        def fold(config, trial, train_idx, val_idx):
            return train({**config, "max_epochs": 4}, trial, train_idx, val_idx, seed=trial.seed)

        result = rltune.tune(
            fold,
            {"learning_rate": LR},
            metric="validation_loss",
            n_trials=6,
            algorithm="random",
            evaluation={"cross_validation": {"kind": "stratified", "data": dataset}, "n_folds": 4},
            **FAST,
        )
        complete = [r for r in result.records if r.state is TrialState.COMPLETE]
        assert complete
        for record in complete:
            scores = fold_values(record.metrics, "validation_loss", 4)
            assert record.value == pytest.approx(sum(scores.values()) / 4)
            assert record.metrics["validation_loss/fold_sd"] > 0
        for record in result.records:
            assert record in complete or record.stopped_by == "race"


class TestMultiObjective:
    @pytest.mark.parametrize("algorithm", ["nsga2", "tpe"])
    def test_one_training_measures_all_three(self, tmp_path, algorithm):
        """The guide trains three times, once for each number."""

        def counted(config, trial):
            (trial.directory / "trained").open("a").write("x")
            return quick(config, trial)["validation_loss"]

        result = rltune.tune(
            counted,
            {"learning_rate": LR, "num_layers": ("int", 6, 24), "dropout_rate": ("float", 0.0, 0.3)},
            metric="validation_loss",
            evaluation={"secondary_metrics": ["training_time", "memory_usage"]},
            algorithm=algorithm,
            n_trials=8,
            out=tmp_path / "s",
            **FAST,
        )
        assert all(len(r.values) == 3 and r.values[1] > 0 and r.values[2] > 1e6 for r in result.records)
        assert all(path.read_text() == "x" for path in (tmp_path / "s").glob("trials/*/trained"))
        found = result.pareto()
        assert {r.number for r in found.front} == {t.number for t in result.study.best_trials}
        assert found.knee in found.front
        assert found.hypervolume > 0

    def test_pruning_goes_with_it(self):
        def slow_or_bad(config, trial):
            for step in range(1, 5):
                trial.report(step, validation_loss=config["x"], size=config["x"] * 2)

        result = rltune.tune(
            slow_or_bad,
            {"x": ("float", 0.0, 1.0)},
            metric="validation_loss",
            evaluation={"secondary_metrics": ["size"]},
            algorithm="random",
            pruner={"name": "median", "n_startup_trials": 4},
            n_trials=20,
            executor="inline",
            protocol="simple",
        )
        assert {r.state for r in result.records} == {TrialState.COMPLETE, TrialState.PRUNED}
        best = min(result.records, key=lambda r: r.params["x"])
        assert best.state is TrialState.COMPLETE


def test_configuration_management(tmp_path):
    manager = HyperparameterManager(tmp_path / "configs")
    config = {"learning_rate": 1e-5, "dropout_rate": 0.0, "max_epochs": 1}
    manager.save_config(config, "baseline")
    assert manager.load_config("baseline") == config
    assert manager.list_configs() == ["baseline"]
    assert train(manager.load_config("baseline")) == train(config)
    with pytest.raises(ValueError, match="outside"):
        manager.save_config(config, "../outside")
    assert not (tmp_path / "outside.yaml").exists()


class TestPipeline:
    @staticmethod
    def objective(config):
        return train({**config, "max_epochs": 3})["validation_loss"]

    @pytest.mark.parametrize("algorithm", ["bayesian", "random"])
    def test_it_optimises_and_reports_the_best_not_the_last(self, algorithm):
        pipeline = AutomatedHyperparameterOptimization(search_algorithm=algorithm, n_trials=6)
        best, value = pipeline.optimize(self.objective, TWO)
        report = pipeline.generate_report()
        assert report["best_config"] == best
        assert report["best_score"] == value == min(entry["score"] for entry in report["optimization_history"])
        assert report["total_trials"] == len(report["optimization_history"]) == 6
        assert self.objective(best) == pytest.approx(value)

    def test_grid(self):
        space = {"learning_rate": ("categorical", [1e-4, 1e-3]), "batch_size": ("categorical", [16, 64])}
        pipeline = AutomatedHyperparameterOptimization(search_algorithm="grid")
        pipeline.optimize(self.objective, space)
        assert pipeline.generate_report()["total_trials"] == 4

    def test_an_unknown_algorithm(self):
        with pytest.raises(ValueError, match="there is no sampler `genetic`"):
            AutomatedHyperparameterOptimization(search_algorithm="genetic").optimize(self.objective, TWO)

    def test_before_anything_has_run(self):
        report = AutomatedHyperparameterOptimization().generate_report()
        assert report == {"best_config": None, "best_score": None, "total_trials": 0, "optimization_history": []}


def test_failures_are_told_apart_from_what_is_infeasible():
    def fragile(config):
        if config["x"] > 0.5:
            raise RuntimeError("CUDA error: out of memory")
        return {"validation_loss": config["x"], "kl": config["x"]}

    result = rltune.tune(
        fragile,
        {"x": ("float", 0.0, 1.0)},
        metric="validation_loss",
        evaluation={"constraints": {"kl": {"max": 0.2}}},
        algorithm="sobol",
        n_trials=16,
        executor="inline",
        protocol="simple",
    )
    assert {r.cause for r in result.records if r.params["x"] > 0.5} == {Cause.OUT_OF_MEMORY}
    assert all(r.cause is None and not r.feasible for r in result.records if 0.2 < r.params["x"] <= 0.5)
    assert result.best.params["x"] <= 0.2
