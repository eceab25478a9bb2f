import math
import warnings

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from rltune.errors import InputError
from rltune.pruners import PRUNERS, PlateauPruner, check_pruner, make_pruner, on_plateau

optuna.logging.set_verbosity(optuna.logging.WARNING)


def trial_with(values: list[float]) -> FrozenTrial:
    curve = dict(enumerate(values))
    return optuna.trial.create_trial(state=TrialState.RUNNING, intermediate_values=curve)


def curve(*values: float) -> dict[int, float]:
    return dict(enumerate(values))


class TestPlateau:
    def test_it_waits_for_patience_measurements_without_improvement(self):
        assert not on_plateau(curve(3.0, 2.0, 2.5), 2)
        assert on_plateau(curve(3.0, 2.0, 2.5, 2.1), 2)

    def test_standing_still_is_no_improvement(self):
        assert on_plateau(curve(2.0, 2.0, 2.0), 2)

    def test_it_forgets_a_bad_stretch_once_the_curve_improves(self):
        assert not on_plateau(curve(3.0, 3.5, 3.4, 2.0), 2)

    def test_a_curve_no_longer_than_patience_goes_on(self):
        assert not on_plateau(curve(1.0, 2.0), 2)
        assert not on_plateau({}, 1)

    def test_maximising(self):
        assert on_plateau(curve(1.0, 0.5, 0.9), 2, maximize=True)
        assert not on_plateau(curve(1.0, 0.5, 1.1), 2, maximize=True)

    def test_min_delta_asks_for_more_than_noise(self):
        assert on_plateau(curve(1.0, 0.99, 0.98), 2, min_delta=0.05)
        assert not on_plateau(curve(1.0, 0.99, 0.9), 2, min_delta=0.05)

    def test_nan_is_no_improvement(self):
        assert on_plateau(curve(1.0, math.nan, math.nan), 2)
        assert on_plateau(curve(math.nan, math.nan, math.nan), 2)
        assert not on_plateau(curve(math.nan, math.nan, 1.0), 2)

    def test_steps_count_in_their_own_order(self):
        assert on_plateau({30: 2.5, 10: 1.0, 20: 2.0}, 2)

    @pytest.mark.parametrize(("direction", "stops"), [("minimize", True), ("maximize", False)])
    def test_the_pruner_goes_by_the_studys_direction(self, direction, stops):
        study = optuna.create_study(direction=direction)
        assert PlateauPruner(patience=2).prune(study, trial_with([1.0, 2.0, 3.0])) is stops

    def test_it_ends_a_real_trial(self):
        study = optuna.create_study(pruner=PlateauPruner(patience=3))
        trial = study.ask()
        for step, value in enumerate([5.0, 4.0, 4.1, 4.2, 4.3]):
            trial.report(value, step)
            assert trial.should_prune() is (step == 4)

    def test_wrong_options(self):
        with pytest.raises(InputError) as caught:
            PlateauPruner(patience=0, min_delta=-1.0)
        assert str(caught.value) == "patience: must be at least 1, got 0\nmin_delta: must be at least 0, got -1.0"


class Never(optuna.pruners.BasePruner):
    asked = 0

    def prune(self, study, trial):
        self.asked += 1
        return False


class TestMakePruner:
    @pytest.mark.parametrize(
        ("name", "cls"),
        [
            ("none", optuna.pruners.NopPruner),
            ("median", optuna.pruners.MedianPruner),
            ("halving", optuna.pruners.SuccessiveHalvingPruner),
            ("hyperband", optuna.pruners.HyperbandPruner),
            ("plateau", PlateauPruner),
        ],
    )
    def test_names_without_options(self, name, cls):
        assert type(make_pruner(name)) is cls

    def test_every_name_of_the_table_leads_to_a_pruner(self):
        assert all(issubclass(PRUNERS.find(name), optuna.pruners.BasePruner) for name in PRUNERS.built_in)

    def test_options_reach_the_pruner(self):
        assert make_pruner("median", {"n_startup_trials": 7})._n_startup_trials == 7
        assert make_pruner("percentile", {"percentile": 25})._percentile == 25

    def test_patient_wraps_another_without_a_warning(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            plain = make_pruner("patient", {"patience": 3, "wrapped_pruner": "median"})
            detailed = make_pruner("patient", {"patience": 3, "wrapped_pruner": {"name": "halving"}})
            alone = make_pruner("patient", {"patience": 3})
        assert isinstance(plain._wrapped_pruner, optuna.pruners.MedianPruner)
        assert isinstance(detailed._wrapped_pruner, optuna.pruners.SuccessiveHalvingPruner)
        assert alone._wrapped_pruner is None

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            (
                "medain",
                {},
                (
                    "name: there is no pruner `medain` (did you mean `median`? "
                    "known are `asha`, `forecast`, `halving`, `hyperband`, `median`, `none`, `patient`, `percentile`, "
                    "`plateau`, "
                    "and `module:Class` for one of your own)"
                ),
            ),
            ("none", {"x": 1}, "x: unknown option (`none` takes no options)"),
            (
                "halving",
                {"reduction": 3},
                (
                    "reduction: unknown option (did you mean `reduction_factor`? `halving` takes `min_resource`, "
                    "`reduction_factor`, `min_early_stopping_rate`, `bootstrap_count`)"
                ),
            ),
            ("median", {"n_startup_trials": "5"}, "n_startup_trials: must be a whole number, got the text '5'"),
            ("median", {"n_startup_trials": True}, "n_startup_trials: must be a whole number, got true"),
            ("halving", {"min_resource": 1.5}, "min_resource: must be text or a whole number, got 1.5"),
            (
                "halving",
                {"reduction_factor": 1},
                (
                    "`halving` refuses its options: "
                    "The value of `reduction_factor` is 1, but must be `reduction_factor >= 2`"
                ),
            ),
            (
                "patient",
                {"patience": 1, "wrapped_pruner": {"name": "median", "n_warmup": 1}},
                (
                    "wrapped_pruner.n_warmup: unknown option (did you mean `n_warmup_steps`? `median` takes "
                    "`n_startup_trials`, `n_warmup_steps`, `interval_steps`, `n_min_trials`)"
                ),
            ),
            (
                "patient",
                {"patience": 1, "wrapped_pruner": 3},
                (
                    "wrapped_pruner: must name a pruner, got 3 "
                    "(as in wrapped_pruner: median, or wrapped_pruner: {name: percentile, percentile: 25.0})"
                ),
            ),
            ("plateau", {"patience": 0}, "patience: must be at least 1, got 0"),
            ("nowhere:Pruner", {}, "name: the pruner `nowhere:Pruner` cannot be loaded: No module named 'nowhere'"),
            (
                "fractions:Fraction",
                {},
                "name: `fractions:Fraction` is not a pruner (subclass optuna.pruners.BasePruner)",
            ),
        ],
    )
    def test_wrong_names_and_options(self, name, options, message):
        with pytest.raises(InputError) as caught:
            make_pruner(name, options)
        assert str(caught.value) == message

    def test_a_missing_option(self):
        with pytest.raises(InputError, match="percentile: is missing"):
            make_pruner("percentile")

    def test_one_of_the_users_own(self):
        own = make_pruner("optuna.pruners:ThresholdPruner", {"upper": 3.0})
        assert isinstance(own, optuna.pruners.ThresholdPruner)

    def test_the_study_file_is_judged_without_code_of_others(self):
        check_pruner("nowhere:Pruner", {"x": 1})
        with pytest.raises(InputError, match="there is no pruner `medain`"):
            check_pruner("medain")
