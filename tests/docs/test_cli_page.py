"""The page of the command line says what `--help` says, of every verb and every option."""

import inspect
import re
from enum import Enum
from pathlib import Path
from typing import get_args

import pytest
from typer.models import ArgumentInfo

from rltune.cli.app import app

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
VERBS = {info.name: info.callback for info in app.registered_commands}
SECTIONS = dict(re.findall(r"^### rltune (\w+)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))


def rows(verb):
    """The lines of one verb's table, in its own order."""
    for name, parameter in inspect.signature(VERBS[verb], eval_str=True).parameters.items():
        kind, info = get_args(parameter.annotation)
        if isinstance(info, ArgumentInfo):
            yield f"| `{info.metavar}` | {info.help} |"
        else:
            names = ", ".join(f"`{each}{value(kind, info)}`" for each in spellings(name, kind, info))
            yield f"| {names} | {info.help}{choices(kind)}{default(parameter.default)} |"


def spellings(name, kind, info):
    given = [each for each in (info.default, *info.param_decls) if isinstance(each, str) and each.startswith("-")]
    return given or [f"--{name}", *([f"--no-{name}"] if kind is bool else [])]


def value(kind, info):
    return f" {info.metavar or 'VALUE'}" if kind is not bool else ""


def choices(kind):
    of = next((k for k in (kind, *get_args(kind)) if isinstance(k, type) and issubclass(k, Enum)), ())
    return f" One of {', '.join(f'`{each.value}`' for each in of)}." if of else ""


def default(given):
    text = given.value if isinstance(given, Enum) else given
    return "" if given is None or isinstance(given, bool) else f" Default: `{text}`."


def test_every_verb_has_its_section():
    assert list(SECTIONS) == list(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_argument_and_option_is_there_in_the_words_of_its_help(verb):
    assert [line for line in SECTIONS[verb].splitlines() if line.startswith("| `")] == list(rows(verb))
