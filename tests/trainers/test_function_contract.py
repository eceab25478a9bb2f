from __future__ import annotations

from collections.abc import Callable

import pytest

from rltune.testing.trainer_suite import Job, TrainerSuite
from rltune.trainers.function import FunctionTrainer
from rltune.types import Trainer


class TestFunctionTrainer(TrainerSuite):
    @pytest.fixture
    def make(self) -> Callable[[Job], Trainer]:
        return lambda job: FunctionTrainer(lambda config, trial: job(config, trial.report))
