import math
import sys

import pytest

from rltune.errors import InputError
from rltune.guards import Mode, Verdict, check_guard, make_guard
from rltune.types import Cause, Measurement


def history(*rows: dict[str, float]) -> list[Measurement]:
    return [Measurement(step, row) for step, row in enumerate(rows)]


def judge(*rows: dict[str, float], **options: object) -> Verdict | None:
    return make_guard("divergence", options, objective="reward")(history(*rows))


class TestDivergence:
    def test_all_is_well(self):
        assert judge({"reward": 1.0, "loss": 0.1}, {"reward": 2.0, "grad_norm": 3.0}) is None

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_a_bad_objective_ends_the_trial_at_once(self, value):
        verdict = judge({"reward": 1.0}, {"reward": value})
        assert verdict == Verdict(Cause.DIVERGED, f"the objective `reward` is {value} at step 1")

    @pytest.mark.parametrize("name", ["loss", "train/loss", "train/grad_norm", "Loss/KL", "train.policy_kl_error"])
    def test_a_bad_vital_sign_that_lasts_ends_the_trial(self, name):
        assert judge({name: math.nan}) is None
        verdict = judge({name: math.nan}, {"reward": 1.0}, {name: math.nan})
        assert verdict == Verdict(Cause.DIVERGED, f"`{name}` is nan at step 2, 2 measurements in a row since step 0")

    def test_one_skipped_step_of_a_loss_scaler_is_forgiven(self):
        assert judge({"grad_norm": math.inf}, {"grad_norm": 1.0}, {"grad_norm": math.inf}) is None

    def test_metrics_that_are_not_watched_may_be_nan(self):
        assert judge({"eval/accuracy": math.nan}, {"eval/accuracy": math.nan}) is None

    def test_its_options(self):
        assert judge({"entropy": math.nan}, watch="entropy", in_a_row=1).message == "`entropy` is nan at step 0"
        assert judge({"loss": math.nan}, {"loss": math.nan}, watch=["entropy"]) is None

    def test_only_the_newest_measurement_is_judged(self):
        """A trial that has recovered is well, and a long history costs nothing."""
        assert judge({"loss": math.nan}, {"loss": math.nan}, {"loss": 1.0}) is None


class TestMakeGuard:
    def test_an_unknown_name(self):
        with pytest.raises(InputError) as caught:
            make_guard("divergance", objective="reward")
        assert str(caught.value) == (
            "name: there is no guard `divergance` (did you mean `divergence`? "
            "known are `collapse`, `divergence`, `grad_norm`, `hacking`, `kl`, `mismatch`, `no_signal`, `truncation`, "
            "and `module:function` for one of your own)"
        )

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                {"wach": ["x"]},
                "wach: unknown option (did you mean `watch`? `divergence` takes `watch`, `in_a_row`, `mode`)",
            ),
            ({"objective": "x"}, "objective: is set by the study (`divergence` takes `watch`, `in_a_row`, `mode`)"),
            (
                {"mode": "dry"},
                (
                    "mode: must be kill or shadow, got the text 'dry' "
                    "(`shadow` writes down what the guard would have ended, and lets it run)"
                ),
            ),
            ({"in_a_row": 0}, "in_a_row: must be at least 1, got 0"),
            ({"watch": 3}, "`divergence` refuses its options: 'int' object is not iterable"),
        ],
    )
    def test_wrong_options(self, options, message):
        with pytest.raises(InputError) as caught:
            check_guard("divergence", options)
        assert str(caught.value) == message

    def test_one_of_the_users_own(self, tmp_path, monkeypatch):
        (tmp_path / "my_guard_module.py").write_text(
            "from rltune.guards import Verdict\n"
            "from rltune.types import Cause\n"
            "def too_long(measurements, *, limit):\n"
            "    if measurements[-1].metrics['length'] > limit:\n"
            "        return Verdict(Cause.COLLAPSED, 'too long')\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        check_guard("my_guard_module:too_long", {"anything": 1})
        assert "my_guard_module" not in sys.modules, "the study file is judged without running code of others"
        with pytest.raises(InputError, match="mode: must be kill or shadow, got true"):
            check_guard("my_guard_module:too_long", {"limit": 10, "mode": True})
        guard = make_guard("my_guard_module:too_long", {"limit": 10, "mode": "shadow"}, objective="reward")
        assert guard.mode is Mode.SHADOW
        assert guard(history({"length": 11.0})) == Verdict(Cause.COLLAPSED, "too long")
        with pytest.raises(InputError, match="limit: is missing"):
            make_guard("my_guard_module:too_long", objective="reward")

    def test_one_that_cannot_be_loaded(self):
        with pytest.raises(InputError, match="the guard `nowhere:guard` cannot be loaded: No module named 'nowhere'"):
            make_guard("nowhere:guard", objective="reward")
