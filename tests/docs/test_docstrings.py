"""Every public name is explained where it stands."""

import inspect
import re

import pytest

import rltune

PUBLIC = {name: getattr(rltune, name) for name in rltune.__all__}


def callables():
    """Public functions, and classes with their public methods."""
    for name, value in PUBLIC.items():
        yield name, value
        for method, function in vars(value).items() if inspect.isclass(value) else ():
            if inspect.isfunction(function) and not method.startswith("_"):
                yield f"{name}.{method}", function


def parameters(value):
    return [p for p in inspect.signature(value).parameters.values() if p.name != "self"]


def section(value, title):
    """What a docstring's section explains, by name."""
    found = re.search(rf"^{title}:\n((?: +.*\n?|\n)+)", inspect.getdoc(value), re.MULTILINE)
    names = re.findall(r"^    ([\w*]+(?:, \w+)*):", found[1], re.MULTILINE) if found else []
    return [each.strip("*") for name in names for each in name.split(", ")]


@pytest.mark.parametrize(("name", "value"), list(callables()), ids=lambda x: x if isinstance(x, str) else "")
def test_a_public_name_says_what_it_is(name, value):
    assert inspect.getdoc(value), name


@pytest.mark.parametrize(("name", "value"), list(callables()), ids=lambda x: x if isinstance(x, str) else "")
def test_what_is_explained_are_its_parameters_and_all_of_them(name, value):
    if inspect.isclass(value) and issubclass(value, Exception):
        return
    explained, known = section(value, "Args"), [p.name for p in parameters(value)]
    assert set(explained) <= set(known)
    assert not explained or len(explained) == len(known), f"{name} leaves out {set(known) - set(explained)}"
    assert explained or section(value, "Attributes") or len(known) < 2 or "``" in inspect.getdoc(value), name
