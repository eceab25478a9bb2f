"""The local executor keeps the contract, warm and cold, and says what is wrong with a trainer before anything runs."""

import pytest

from rltune.errors import ExecutorError, TrainerError
from rltune.executors.gpus import GpuPool, visible_gpus
from rltune.executors.local import LocalExecutor
from rltune.testing.executor_suite import IsolatedExecutorSuite, ScriptedBrain, scripted_trainer
from rltune.types import Resources


class TestWarm(IsolatedExecutorSuite):
    def make_executor(self, workers, resources):
        return LocalExecutor(workers, resources)


@pytest.mark.slow
class TestCold(IsolatedExecutorSuite):
    def make_executor(self, workers, resources):
        return LocalExecutor(workers, resources, warm=False)


class Unloadable:
    """A trainer whose module cannot be imported."""

    def __init__(self, error):
        self.error = error

    def load(self):
        raise self.error

    def __call__(self, suggestion, report):
        raise AssertionError("never called")


@pytest.mark.parametrize(
    ("raised", "expected"), [(TrainerError("no module `x`"), TrainerError), (KeyError("boo"), ExecutorError)]
)
def test_a_trainer_that_cannot_be_loaded_costs_no_trial(tmp_path, raised, expected):
    brain = ScriptedBrain(tmp_path, [{"do": "return"}])
    with pytest.raises(expected, match=r"no module `x`|boo"):
        LocalExecutor().run(brain, Unloadable(raised))
    assert not brain.outcomes


def closure(text):
    def trainer(suggestion, report):
        return {"loss": float(len(text))}

    return trainer


def test_a_function_that_pickle_cannot_name_runs(tmp_path):
    brain = ScriptedBrain(tmp_path, [{}])
    LocalExecutor().run(brain, closure("four"))
    assert brain.outcomes[0].metrics == {"loss": 4.0}


def test_children_of_one_server_draw_different_random_numbers(tmp_path):
    brain = ScriptedBrain(tmp_path, [{}, {}])
    LocalExecutor().run(brain, draws_numbers)
    first, second = (brain.outcomes[n].metrics for n in range(2))
    assert first["numpy"] != second["numpy"]
    assert first["random"] != second["random"]


def draws_numbers(suggestion, report):
    import random

    import numpy as np

    return {"numpy": np.random.rand(), "random": random.random()}  # noqa: NPY002


class LoadedNumpy:
    """Loads NumPy in the server, so that its global generator is shared unless it is seeded."""

    def load(self):
        import numpy as np

        np.random.rand()  # noqa: NPY002

    __call__ = staticmethod(draws_numbers)


def test_the_trials_seed_seeds_the_global_generators(tmp_path):
    results = []
    for name in ("a", "b"):
        brain = ScriptedBrain(tmp_path / name, [{}, {}])
        LocalExecutor(workers=2).run(brain, LoadedNumpy())
        results.append([brain.outcomes[n].metrics for n in range(2)])
    assert results[0] == results[1]
    assert results[0][0] != results[0][1]


@pytest.mark.parametrize("warm", [True, False])
def test_a_trial_gets_the_python_path_of_its_user_and_no_other(tmp_path, monkeypatch, warm):
    """A command may run in another environment, where our packages would be in the way of its own."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    brain = ScriptedBrain(tmp_path, [{}])
    LocalExecutor(warm=warm).run(brain, tells_python_path)
    assert brain.outcomes[0].metrics == {"set": 0.0}


def tells_python_path(suggestion, report):
    import os

    return {"set": float("PYTHONPATH" in os.environ)}


class TestGpus:
    def test_a_trial_sees_its_own_gpus_only(self, tmp_path):
        brain = ScriptedBrain(tmp_path, [{}] * 6)
        LocalExecutor(workers=8, resources=Resources(gpus=2), gpus=["0", "1", "2", "3"]).run(brain, tells_gpus)
        seen = {frozenset((o.metrics["first"], o.metrics["second"])) for o in brain.outcomes.values()}
        assert brain.most_at_once == 2
        assert seen <= {frozenset((0.0, 1.0)), frozenset((2.0, 3.0))}

    def test_a_fraction_shares_a_gpu(self):
        pool = GpuPool(["a", "b"], 0.5)
        assert pool.n_slots == 4
        taken = [pool.take() for _ in range(4)]
        assert sorted(taken) == [("a",), ("a",), ("b",), ("b",)]
        assert pool.take() is None
        pool.give_back(["b"])
        assert pool.take() == ("b",)

    @pytest.mark.parametrize(("gpus", "per_trial", "found"), [([], 1, "no GPU"), (["0"], 2, "GPUs 0")])
    def test_a_request_that_can_never_be_met_is_refused(self, gpus, per_trial, found):
        with pytest.raises(ExecutorError, match=f"needs {per_trial} GPU.*{found}.*gpus_per_trial"):
            GpuPool(gpus, per_trial)

    @pytest.mark.parametrize(("value", "gpus"), [("0,2", ["0", "2"]), ("", []), ("-1", []), ("GPU-ab", ["GPU-ab"])])
    def test_visible_devices_are_respected(self, value, gpus):
        assert visible_gpus({"CUDA_VISIBLE_DEVICES": value}) == gpus


def tells_gpus(suggestion, report):
    import os
    import time

    first, second = os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    time.sleep(0.1)
    return {"first": float(first), "second": float(second)}


def test_the_suites_trainer_can_be_pickled(tmp_path):
    brain = ScriptedBrain(tmp_path, [{"do": "return"}])
    LocalExecutor().run(brain, scripted_trainer)
    assert brain.outcomes[0].cause is None
