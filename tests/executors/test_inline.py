"""The inline executor keeps the contract, as far as one process can."""

import pytest

import rltune
from rltune import config, session
from rltune.executors.inline import InlineExecutor
from rltune.testing.executor_suite import ExecutorSuite


class TestInline(ExecutorSuite):
    def make_executor(self, workers, resources):
        return InlineExecutor()


def test_ctrl_c_inside_the_trainer_ends_the_study_and_the_next_call_goes_on(tmp_path):
    calls = []

    def train(config):
        calls.append(config["x"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return 0.0

    def tune():
        space = {"x": ("float", 0.0, 1.0)}
        return rltune.tune(train, space, metric="loss", n_trials=4, out=tmp_path, executor="inline", protocol="simple")

    with pytest.raises(KeyboardInterrupt):
        tune()
    assert len(calls) == 2
    result = tune()
    assert len(calls) == 5
    assert calls[1] == calls[2]
    assert sum(r.cause is None for r in result.records) == 4


def test_a_study_of_a_lambda_can_be_read_again(tmp_path):
    rltune.tune(
        lambda config: config["x"],
        {"x": ("float", 0.0, 1.0)},
        metric="loss",
        n_trials=2,
        out=tmp_path,
        executor="inline",
        protocol="simple",
    )
    assert len(rltune.load(tmp_path).records) == 2
    with pytest.raises(rltune.RltuneError, match="run it from Python again"):
        session.run(config.load(tmp_path / "study.yaml"), out=tmp_path)
