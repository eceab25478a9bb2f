"""`trainer.horizon` in the expressions of a study file, whatever the trainer is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rltune import config as cfg
from rltune import session
from rltune.analysis.advice import before
from rltune.errors import StudyFileError
from rltune.space import SearchSpace

STUDY: dict[str, Any] = {
    "trainer": {"command": ["true", "{steps}", "{batch_size}"], "horizon": 100},
    "search_space": {"batch_size": {"type": "categorical", "choices": [8, 16, 32]}},
    "derived": {"steps": "trainer.horizon * 8 // batch_size"},
    "evaluation": {"metric": "loss", "direction": "minimize"},
}


def space_of(tmp_path: Path, **trainer: Any) -> SearchSpace:
    config = cfg.from_mapping({**STUDY, "trainer": {**STUDY["trainer"], **trainer}})
    return session.prepare(config, session.study_dir(config, tmp_path)).space


def test_it_is_the_horizon(tmp_path: Path) -> None:
    assert space_of(tmp_path).resolve({"batch_size": 16})["steps"] == 50
    assert space_of(tmp_path, horizon=10).resolve({"batch_size": 16})["steps"] == 5


def test_without_one_it_is_null(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=r"derived.steps: .* `\*` needs numbers, got null"):
        space_of(tmp_path, horizon=None)


LISTS = {"batch": {"type": "categorical", "choices": [4, 8, 16, 32, 64, 128], "default": 8}}


def test_choices_that_must_divide_are_not_told_to_become_a_range() -> None:
    assert [each.kind for each in before(SearchSpace.from_mapping(LISTS), 100)] == ["ordered_choices"]
    assert before(SearchSpace.from_mapping(LISTS, ["128 % batch == 0"]), 100) == []


def test_parameters_that_the_trainer_judges_are_not_counted() -> None:
    two = {name: {"type": "float", "min": 0.1, "max": 0.9} for name in ("a", "b")}
    space = SearchSpace.from_mapping(two)
    assert "20 in all" in before(space, 5)[0].hint
    assert "10 in all" in before(space, 5, ["a"])[0].hint
    assert before(space, 5, ["a", "b"]) == []
