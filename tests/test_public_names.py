import importlib
import pkgutil
import subprocess
import sys

import pytest

import rltune


def modules():
    """Every module of the package but those that run something."""
    found = pkgutil.walk_packages(rltune.__path__, "rltune.")
    return [m.name for m in found if "__main__" not in m.name and "_examples" not in m.name]


@pytest.mark.parametrize("name", rltune.__all__)
def test_no_module_takes_the_place_of_a_public_name(name):
    for module in modules():
        importlib.import_module(module)
    assert getattr(rltune, name).__name__ == name
    assert not isinstance(getattr(rltune, name), type(rltune))


@pytest.mark.parametrize("name", rltune.__all__)
def test_every_public_name_says_what_it_is(name):
    assert getattr(rltune, name).__doc__


def test_the_package_itself_loads_nothing():
    code = "import sys, rltune; print(sorted({'optuna', 'numpy', 'pydantic', 'sklearn'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
