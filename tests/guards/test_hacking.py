from guards.curves import OBJECTIVE, fires_at, guard
from rltune.guards import make_guard
from rltune.types import Cause, Measurement


def run(validation, reward, period=10, metric=OBJECTIVE):
    """A reward a step, and a validation each period; each is a function of the step."""
    return [
        Measurement(step, {"train/reward": reward(step)} | ({metric: validation(step)} if step % period == 0 else {}))
        for step in range(1, 101)
    ]


def test_reward_that_rises_while_accuracy_falls():
    found = fires_at(guard("hacking"), run(lambda s: 0.5 - max(0, s - 40) / 100, lambda s: s / 100))
    step, verdict = found
    assert step == 70
    assert verdict.cause is Cause.REWARD_HACKING
    assert verdict.message == (
        "over 3 evaluations `validation/accuracy` went from 0.5 at step 40 to 0.2 at step 70, while the training "
        "reward rose from 0.355 to 0.655"
    )


def test_both_fall():
    assert fires_at(guard("hacking"), run(lambda s: 0.5 - s / 200, lambda s: 0.5 - s / 200)) is None


def test_both_rise():
    assert fires_at(guard("hacking"), run(lambda s: s / 200, lambda s: s / 200)) is None


def test_a_fall_within_the_noise():
    assert fires_at(guard("hacking"), run(lambda s: 0.5 - s / 300, lambda s: s / 100)) is None


def test_a_reward_that_rises_and_falls_between_evaluations():
    """Only means between evaluations count, so noise from step to step is none."""
    found = fires_at(guard("hacking"), run(lambda s: 0.9 - s / 150, lambda s: s / 100 + (-1) ** s * 0.3))
    assert found[0] == 40


def test_a_loss_that_rises_while_the_reward_does():
    judge = make_guard("hacking", {"standard_error": 0.01}, objective="validation/loss", direction="minimize")
    found = fires_at(judge, run(lambda s: 1 + s / 100, lambda s: s / 100, metric="validation/loss"))
    assert found[1].cause is Cause.REWARD_HACKING


def test_without_a_training_reward_there_is_nothing_to_compare_with():
    measurements = [Measurement(step, {OBJECTIVE: 0.9 - step / 20}) for step in range(12)]
    assert fires_at(guard("hacking"), measurements) is None
