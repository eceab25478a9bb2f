from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rltune.testing.trainer_suite import Job, TrainerSuite
from rltune.trainers.command import CommandTrainer
from rltune.types import Trainer

SCRIPT = """
import sys
from rltune.testing import trainer_suite
from rltune.trainers.context import report
{read}
with open(sys.argv[2]) as file:
    config = load(file)
getattr(trainer_suite, sys.argv[1])(config, report)
"""

READ_YAML_12 = "from ruamel.yaml import YAML; load = YAML(typ='safe').load"
READ_YAML_11 = "import yaml; load = yaml.safe_load"
READ_JSON = "from json import load"


def command(tmp_path: Path, job: Job, read: str, **options: object) -> CommandTrainer:
    script = tmp_path / "job.py"
    script.write_text(SCRIPT.format(read=read))
    argv = [sys.executable, str(script), job.__name__, "{config}"]
    return CommandTrainer(argv, env={"PYTHONPATH": os.pathsep.join(sys.path)}, **options)


class TestWithYaml12(TrainerSuite):
    @pytest.fixture
    def make(self, tmp_path: Path) -> Callable[[Job], Trainer]:
        return lambda job: command(tmp_path, job, READ_YAML_12)


class TestTypes:
    """The same file, read by other readers."""

    suggestion = TrainerSuite.suggestion
    test_yaml_11 = TrainerSuite.test_parameters_arrive_with_their_types
    test_json = TrainerSuite.test_parameters_arrive_with_their_types

    @pytest.fixture
    def make(self, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[Job], Trainer]:
        if "json" in request.node.name:
            return lambda job: command(tmp_path, job, READ_JSON, config_format="json")
        return lambda job: command(tmp_path, job, READ_YAML_11)
