"""Whatever is given: a study, or an error that names a key."""

import math

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rltune.config import StudyConfig, from_mapping
from rltune.config.nodes import parse
from rltune.config.section import Section
from rltune.errors import InputError, StudyFileError

SECTIONS = [*StudyConfig.keys(), *Section.homes, "min", "max", "type", "choices", "primary_metric", "stdout", "x"]
WORDS = ["minimize", "local", "median", "divergence", "float", "int", "job:train", "8GB", "loss", "journal", "full", ""]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.sampled_from([math.nan, math.inf, *WORDS])
    | st.text(max_size=5)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(SECTIONS) | st.integers(0, 2), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example({"executor": {"name": []}})
@given(st.dictionaries(st.sampled_from(SECTIONS), values, max_size=8))
def test_a_study_or_an_error_with_keys(mapping):
    base = {
        "trainer": {"function": "job:train"},
        "search_space": {"x": {"type": "float", "min": 0, "max": 1}},
        "evaluation": {"metric": "loss", "direction": "minimize"},
    }
    try:
        config = from_mapping({**base, **mapping})
    except StudyFileError as error:
        problems = error.problems
    else:
        assert from_mapping(config.to_mapping()) == config
        return
    assert problems
    assert all(problem.key and problem.message for problem in problems)
    assert "something else" not in str(problems)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab:-[]{}'\"&*!%@|>#?,\t\n 01e~<", max_size=30))
def test_any_text_is_yaml_or_an_error_in_words(text):
    try:
        parse(text)
    except InputError as error:
        problems = error.problems
    else:
        return
    assert problems
    assert all(problem.message for problem in problems)
