"""A study as text again, and two versions of it compared."""

import pytest
from ruamel.yaml import YAML

from rltune.config import differences, from_mapping, invalidating, load

STUDY = {
    "name": "demo",
    "algorithm": {"name": "tpe", "multivariate": True},
    "timeout_hours": 24,
    "trainer": {
        "command": ["python", "train.py", "1e-5", "true", "{config}"],
        "config": {"model": {"size": None, "tags": []}, "lr": 1e-7},
        "metrics": {"stdout": "loss=(?P<loss>.+)", "step": "epoch"},
        "env": {"A": "1"},
        "horizon": 300,
    },
    "search_space": {
        "policy.lr": {"type": "float", "min": 1e-6, "max": 1e-3, "log": True, "default": 1e-5},
        "head": {"type": "categorical", "choices": [None, "on", 1.5, True]},
    },
    "constraints": ["policy.lr < 1"],
    "evaluation": {
        "primary_metric": "loss",
        "secondary_metrics": ["training_time"],
        "direction": "minimize",
        "constraints": {"memory_usage": {"max": 70e9}},
        "early_stopping": True,
    },
    "guards": ["divergence", {"name": "divergence", "watch": ["loss"]}],
    "executor": {"name": "local", "workers": 2, "memory_limit": "8GB", "gpus_per_trial": 1, "gpus": [0, "GPU-ab"]},
    "protocol": {"name": "full", "finalists": 2},
}


@pytest.fixture
def study():
    return from_mapping(STUDY)


class TestYaml:
    def test_it_reads_back_to_an_equal_study(self, study, tmp_path):
        file = tmp_path / "study.yaml"
        file.write_text(study.to_yaml())
        again = load(file)
        assert again == study
        assert again.to_yaml() == study.to_yaml()

    def test_a_function_reads_back_as_its_name(self, tmp_path):
        mapping = {**STUDY, "trainer": from_mapping}
        file = tmp_path / "study.yaml"
        file.write_text(from_mapping(mapping).to_yaml())
        assert load(file).trainer.function == "rltune.config.load:from_mapping"
        assert load(file) == from_mapping(mapping)

    def test_every_default_is_spelled_out(self, study):
        mapping = study.to_mapping()
        assert (mapping["n_trials"], mapping["seed"], mapping["executor"]["grace_seconds"]) == (100, 0, 10.0)
        assert mapping["executor"]["memory_limit"] == 8 * 10**9

    def test_values_of_the_users_own_survive_even_null(self, study):
        mapping = study.to_mapping()
        assert mapping["trainer"]["config"] == STUDY["trainer"]["config"]
        assert mapping["search_space"]["head"]["choices"] == [None, "on", 1.5, True]

    def test_numbers_are_numbers_for_readers_of_yaml_1_1_too(self, study):
        old = YAML(typ="safe", pure=True)
        old.version = (1, 1)
        parsed = old.load(study.to_yaml())
        assert parsed["search_space"]["policy.lr"]["min"] == 1e-6
        assert parsed["trainer"]["config"]["lr"] == 1e-7


class TestDifferences:
    def test_none(self, study):
        assert differences(study, study) == []

    @pytest.mark.parametrize(
        ("change", "line", "free"),
        [
            ({"n_trials": 200}, "n_trials: 100 -> 200", True),
            ({"timeout_hours": None}, "timeout_hours: 24.0 -> absent", True),
            ({"algorithm": "random"}, None, True),
            ({"max_failures_in_a_row": 3}, "max_failures_in_a_row: 10 -> 3", True),
            ({"seed": 1}, "seed: 0 -> 1", False),
            ({"storage": "sqlite:///x.db"}, "storage: journal -> sqlite:///x.db", False),
            ({"trainer": {"function": "job:train"}}, None, False),
        ],
    )
    def test_of_a_key_at_the_top(self, study, change, line, free):
        changed = from_mapping({**study.to_mapping(), **change})
        assert line is None or differences(study, changed) == [line]
        assert differences(study, changed)
        assert bool(invalidating(study, changed)) is not free

    @pytest.mark.parametrize(
        ("change", "line", "free"),
        [
            ({"max": 0.1}, "search_space.policy.lr.max: 0.001 -> 0.1", True),
            ({"default": 1e-4}, "search_space.policy.lr.default: 1e-05 -> 0.0001", True),
            ({"log": False}, "search_space.policy.lr.log: true -> false", False),
        ],
    )
    def test_of_a_parameter(self, study, change, line, free):
        mapping = study.to_mapping()
        mapping["search_space"]["policy.lr"] |= change
        changed = from_mapping(mapping)
        assert differences(study, changed) == [line]
        assert bool(invalidating(study, changed)) is not free

    def test_of_choices(self, study):
        mapping = study.to_mapping()
        mapping["search_space"]["head"]["choices"] = [None, "on"]
        changed = from_mapping(mapping)
        line = "search_space.head.choices: [None, 'on', 1.5, True] -> [None, 'on']"
        assert invalidating(study, changed) == [line]

    def test_a_new_parameter_is_another_study(self, study):
        mapping = study.to_mapping()
        mapping["search_space"]["new"] = {"type": "int", "min": 1, "max": 3}
        lines = [
            "search_space.new.type: absent -> int",
            "search_space.new.min: absent -> 1",
            "search_space.new.max: absent -> 3",
        ]
        assert differences(study, from_mapping(mapping)) == lines
        assert invalidating(study, from_mapping(mapping)) == lines

    def test_where_and_how_many_run_may_change(self, study):
        mapping = study.to_mapping()
        mapping["executor"] = {"name": "inline"}
        mapping["protocol"] = "simple"
        assert differences(study, from_mapping(mapping))
        assert invalidating(study, from_mapping(mapping)) == []
