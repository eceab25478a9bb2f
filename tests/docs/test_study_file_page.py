"""The page of the study file names every key that the schema has, with its default, and none that it has not."""

import re
from dataclasses import MISSING, fields
from enum import Enum
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
from pydantic_core import PydanticUndefined
from ruamel.yaml import YAML

from rltune.config.dump import plain
from rltune.config.evaluation import CrossValidationConfig, EvaluationConfig, RangeConfig
from rltune.config.executor import ExecutorConfig
from rltune.config.named import AlgorithmConfig, GuardConfig, Named, PrunerConfig, TrackerConfig
from rltune.config.schema import ProtocolConfig, StudyConfig
from rltune.config.section import Section
from rltune.config.trainer import MetricsConfig, NemoRlConfig, TrainerConfig
from rltune.executors import EXECUTORS
from rltune.guards.registry import GUARDS, make_guard
from rltune.guards.verdict import Mode
from rltune.pruners.registry import PRUNERS
from rltune.registry import parameters_of
from rltune.samplers import SAMPLERS
from rltune.space import Categorical, Float, Int
from rltune.trackers import TRACKERS
from rltune.trainers.placeholders import BUILT_IN

PAGE = (Path(__file__).parents[2] / "docs" / "study_file.md").read_text(encoding="utf-8")

SECTIONS = {
    "Top level": StudyConfig,
    "trainer": TrainerConfig,
    "nemo_rl": NemoRlConfig,
    "evaluation": EvaluationConfig,
    "ranges": RangeConfig,
    "cross_validation": CrossValidationConfig,
    "executor": ExecutorConfig,
    "protocol": ProtocolConfig,
}
PARTS = {
    "algorithm": (SAMPLERS, {"space", "seed", "n_objectives"}, {"bayesian"}),
    "pruner": (PRUNERS, set(), set()),
    "guards": (GUARDS, {"measurements", "objective", "direction"}, set()),
    "trackers": (TRACKERS, {"study"}, set()),
}
SEE_THERE = ("trainer", "executor", "protocol")


def tables(heading):
    """The rows of the tables under a heading, each as its cells."""
    title = heading if " " in heading else f"`{heading}`"
    text = re.search(rf"^##+ {re.escape(title)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]


def read(cell):
    return YAML(typ="safe", pure=True).load(cell.strip("`"))


def default_of(field):
    if field.default is not PydanticUndefined:
        return field.default
    return PydanticUndefined if field.default_factory is None else field.default_factory()


def words(annotation):
    """The values that a key may have, where they are few."""
    if get_origin(annotation) is Literal:
        return {str(each) for each in get_args(annotation) if isinstance(each, str)}
    return {word for part in get_args(annotation) for word in words(part)}


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_of_a_section_is_there_with_its_default_and_no_other(heading):
    section = SECTIONS[heading]
    rows = {row[0].strip("`"): row for row in tables(heading) if len(row) == 4 and row[0].startswith("`")}
    known = {name: field for name, field in section.model_fields.items() if name != "options"}
    assert set(rows) == set(known)
    for name, field in known.items():
        _, kind, default, meaning = rows[name]
        assert meaning
        assert kind
        for word in words(field.annotation):
            assert f"`{word}`" in kind, f"{name} may be {word}"
        given = default_of(field)
        if given is PydanticUndefined or name == "trainer":
            assert default == "required", name
        elif default == "see there":
            assert name in SEE_THERE
        else:
            assert read(default) == as_yaml(given), name


def as_yaml(value):
    """As a study file has it."""
    if isinstance(value, MetricsConfig):
        return "jsonl"
    given = plain(value.model_dump() if hasattr(value, "model_dump") else value)
    return [as_yaml(each) for each in given] if isinstance(given, list | tuple) else given


def test_every_section_of_the_schema_has_a_place():
    by_name = {AlgorithmConfig, PrunerConfig, GuardConfig, TrackerConfig}  # whose options are in PARTS
    assert {*every(Section)} == {*SECTIONS.values(), *by_name, Named, MetricsConfig}


def every(section):
    for each in section.__subclasses__():
        yield each
        yield from every(each)


def test_every_place_that_metrics_are_read_from_is_named():
    for source in get_args(MetricsConfig.model_fields["source"].annotation):
        assert f"`{source}`" in PAGE or f"`{{{source}: " in PAGE
    assert "`step: iteration`" in PAGE


def test_a_part_that_is_described_elsewhere_has_its_defaults_there():
    for name in ("executor", "protocol"):
        section = SECTIONS[name]
        assert StudyConfig.model_fields[name].default == section()


@pytest.mark.parametrize("heading", PARTS)
def test_every_name_and_option_of_a_part_is_there_with_its_default_and_no_other(heading):
    registry, ours, same = PARTS[heading]
    shown, name = {}, None
    for first, option, default, meaning in tables(heading):
        if first == "name":
            continue
        name = first.strip("`") or name
        assert meaning
        shown.setdefault(name, {})
        if option:
            shown[name][option.strip("`")] = default
    expected = {name: options_of(registry, name, ours) for name in registry.built_in if name not in same}
    assert {name: set(options) for name, options in shown.items()} == {n: set(o) for n, o in expected.items()}
    for name, options in expected.items():
        for option, default in options.items():
            if default is MISSING:
                assert shown[name][option] == "required", f"{name}.{option}"
            else:
                assert read(shown[name][option]) == default, f"{name}.{option}"


def options_of(registry, name, ours):
    """Defaults by option."""
    given = {}
    for option, parameter in parameters_of(registry.find(name)).items():
        if option in ours:
            continue
        default = MISSING if parameter.default is parameter.empty else parameter.default
        given[option] = list(default) if isinstance(default, tuple) else default
    if name == "patient":
        given["wrapped_pruner"] = None  # filled in where it is not given
    return given


def test_other_names_of_the_same_sampler_are_named():
    assert "`bayesian` another name of it" in PAGE
    assert SAMPLERS.built_in["auto"] == SAMPLERS.built_in["bayesian"]


def test_every_mode_of_a_guard_is_named_with_its_default():
    told = " ".join(re.search(r"^Every guard takes `mode` .*?\n\n", PAGE, re.MULTILINE | re.DOTALL)[0].split())
    assert all(f"`{mode}`" in told for mode in Mode)
    modes = {name: make_guard(name, objective="reward").mode for name in GUARDS.built_in}
    assert {name for name, mode in modes.items() if mode is not Mode.KILL} == {"mismatch"}


def test_every_executor_is_named():
    assert all(f"`{name}`" in PAGE for name in EXECUTORS.built_in)


def test_every_key_of_a_parameter_is_there_with_its_default():
    rows = {name: row for row in tables("search_space") for name in re.findall(r"`(\w+)`", row[0])}
    named = {"low": "min", "high": "max"}
    for kind in (Float, Int, Categorical):
        for field in fields(kind):
            if not field.init:
                continue
            _, _, default, _ = rows[named.get(field.name, field.name)]
            if field.default is MISSING:
                assert default == "required"
            elif isinstance(field.default, Enum):
                assert default == "none"
            elif field.name != "step":  # every integer is a step of 1
                assert read(default) == field.default


def test_every_placeholder_of_a_command_is_there():
    shown = dict(re.findall(r"^\| `\{(\w+)\}` \| (.*) \|$", PAGE, re.MULTILINE))
    assert {name: shown.get(name) for name in BUILT_IN} == dict(BUILT_IN)
