import math

import pytest

from rltune.errors import InputError
from rltune.objective import Constraint, Objective, OptimizationObjective


class TestObjective:
    def test_better_goes_by_the_direction(self):
        assert Objective("loss").better(1.0, 2.0)
        assert Objective("reward", "maximize").better(2.0, 1.0)

    def test_equal_is_not_better_and_nan_never_is(self):
        objective = Objective("loss")
        assert not objective.better(1.0, 1.0)
        assert not objective.better(math.nan, 1.0)
        assert objective.better(1.0, math.nan)

    def test_feasible_comes_before_infeasible_whatever_the_value(self):
        objective = Objective("reward", "maximize")
        feasible, infeasible = objective.standing(1.0, [-2.0, 0.0]), objective.standing(9.0, [0.5, -3.0])
        assert sorted([infeasible, feasible]) == [feasible, infeasible]

    def test_among_the_infeasible_the_one_that_misses_less_comes_first(self):
        objective = Objective("loss")
        assert objective.standing(5.0, [0.1]) < objective.standing(1.0, [0.2])

    def test_no_value_comes_last(self):
        objective = Objective("reward", "maximize")
        assert objective.standing(-1e300) < objective.standing(None)

    @pytest.mark.parametrize(("direction", "best"), [("minimize", 1.0), ("maximize", 3.0)])
    def test_the_best_of_a_curve_ignores_nan(self, direction, best):
        assert Objective("m", direction).best([2.0, math.nan, 1.0, 3.0]) == best

    def test_the_best_of_nothing_is_nan(self):
        assert math.isnan(Objective("m").best([math.nan]))

    def test_a_missing_metric_names_what_is_there(self):
        with pytest.raises(InputError) as caught:
            Objective("validation_loss").value({"val_loss": 1.0, "reward": 2.0})
        message = "the metric `validation_loss` was not measured (did you mean `val_loss`? there is reward, val_loss)"
        assert str(caught.value) == message

    def test_a_wrong_direction_is_refused(self):
        with pytest.raises(InputError, match="direction: must be minimize or maximize, got 'max'"):
            Objective("loss", "max")


class TestConstraint:
    @pytest.mark.parametrize(
        ("low", "high", "value", "violation"),
        [
            (0.0, 10.0, 3.0, -3.0),
            (0.0, 10.0, 0.0, 0.0),
            (0.0, 10.0, 10.0, 0.0),
            (0.0, 10.0, 12.0, 2.0),
            (0.0, 10.0, -1.0, 1.0),
            (None, 10.0, -1e9, -1e9 - 10.0),
            (2.0, None, 1.5, 0.5),
            (None, 10.0, math.inf, math.inf),
            (None, 10.0, math.nan, math.inf),
            (0.0, math.inf, math.inf, 0.0),
            (-math.inf, math.inf, 5.0, 0.0),
        ],
    )
    def test_violation(self, low, high, value, violation):
        assert Constraint("m", low, high).violation(value) == violation

    def test_a_range_without_ends_is_refused(self):
        with pytest.raises(InputError, match="m: has neither min nor max"):
            Constraint("m")

    def test_a_range_upside_down_is_refused(self):
        with pytest.raises(InputError, match="m: min must not be above max, got 3 and 2"):
            Constraint("m", 3, 2)


class TestOptimizationObjective:
    def test_the_guides_call(self):
        objective = OptimizationObjective("validation_loss", constraints={"memory": (0, 10)})
        assert objective.evaluate({"validation_loss": 0.5, "memory": 3}) == 0.5
        assert objective.evaluate({"validation_loss": 0.5, "memory": 30}) == math.inf
        assert objective.evaluate({"validation_loss": 0.5, "memory": math.nan}) == math.inf

    def test_a_maximised_objective_gets_the_worst_value_of_its_own_direction(self):
        objective = OptimizationObjective("reward", {"kl": (None, 0.1)}, direction="maximize")
        assert objective.evaluate({"reward": 2.0, "kl": 0.2}) == -math.inf
        assert objective.evaluate({"reward": 2.0, "kl": 0.1}) == 2.0

    def test_no_constraints_is_the_default(self):
        assert OptimizationObjective("loss").evaluate({"loss": 1.5}) == 1.5

    @pytest.mark.parametrize("results", [{}, {"loss": 1.0}])
    def test_a_missing_metric_is_named(self, results):
        with pytest.raises(InputError, match="was not measured"):
            OptimizationObjective("loss", {"kl": (0, 1)}).evaluate(results)
