"""A tuner over a real journal, and simulated trainings for it."""

import optuna

from rltune import records as rec
from rltune.folder import StudyDir
from rltune.objective import Objective
from rltune.protocol.plan import Plan
from rltune.protocol.seeds import SeedLedger
from rltune.space import SearchSpace
from rltune.storage import open_study
from rltune.testing.simulator import SimulatedExecutor
from rltune.tuner import Tuner
from rltune.types import Measurement

SPACE = {"x": {"type": "float", "min": 0.0, "max": 1.0}}


LOSS = [Objective("loss", "minimize")]


def make_tuner(path, *, n=6, objectives=LOSS, constraints=(), pruner=None, **fields):
    folder = StudyDir(path)
    folder.create()
    study = open_study(
        "journal",
        folder,
        "s",
        [o.direction for o in objectives],
        sampler=optuna.samplers.RandomSampler(seed=0),
        pruner=pruner,
        repair=True,
    )
    plan = Plan(objectives, constraints, SeedLedger.of(0), n_search=n)
    return Tuner(study, SearchSpace.from_mapping(SPACE), plan, folder, **fields)


def curve(*values, metric="loss"):
    def train(suggestion):
        for step, value in enumerate(values, 1):
            yield Measurement(step, {metric: value}, seconds=60.0 * step)

    return train


def run(tuner, train, workers=1):
    SimulatedExecutor(workers).run(tuner, train)
    tuner.close()
    return rec.load(tuner.study)
