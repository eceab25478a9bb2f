"""The command of a W&B sweep, with W&B's macros, as the words of a study's command."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rltune.importing.wandb_space import VARIES, Space
from rltune.space import Categorical
from rltune.trainers.placeholders import BUILT_IN
from rltune.wording import found, listed

_DEFAULT = ("${env}", "${interpreter}", "${program}", "${args}")
_WORDS: Mapping[str, Callable[[str, str], Sequence[str]]] = {
    "${args}": lambda name, value: [f"--{name}={value}"],
    "${args_no_boolean_flags}": lambda name, value: [f"--{name}={value}"],
    "${args_no_hyphens}": lambda name, value: [f"{name}={value}"],
    "${args_no_equals}": lambda name, value: [f"--{name}", value],
    "${args_append_hydra}": lambda name, value: [f"+{name}={value}"],
    "${args_override_hydra}": lambda name, value: [f"++{name}={value}"],
}
"""How W&B writes one parameter."""


def command_of(sweep: Mapping[str, Any], space: Space) -> list[str]:
    """The words that W&B's agent would run, with placeholders.

    Args:
        sweep: The sweep's file.
        space: Its parameters; the notes in it grow by what has no counterpart.
    """
    notes, given = space.notes, sweep.get("command") or list(_DEFAULT)
    if not isinstance(given, list):
        notes.refuse(("command",), f"must be a list of words, got {found(given)}")
        return []
    words = [filled for i, word in enumerate(given) for filled in _filled(str(word), i, sweep, space)]
    if any(str(word) in _WORDS for word in given):
        told = "the sweep's agent sets wandb.config; here the program gets its parameters as the words of its command"
        notes.remark(("command",) if "command" in sweep else ("program",), told)
    return words


def _filled(word: str, index: int, sweep: Mapping[str, Any], space: Space) -> Iterator[str]:
    notes, key = space.notes, ("command", index)
    if word in _WORDS:
        for name, value in space.passed.items():
            _refuse_flags(word, name, space)
            _refuse_taken(name, space)
            yield from _WORDS[word](name, f"{{{name}}}" if value is VARIES else _literal(str(value)))
    elif word == "${env}":
        return  # it finds the interpreter by PATH, as rltune does
    elif word == "${args_json_file}":
        notes.remark(key, "a file as there, but in YAML, of which JSON is a part; nested where names have dots")
        yield "{config}"
    elif word == "${args_json}":
        notes.refuse(key, "`${args_json}` has no counterpart", "read a file: write ${args_json_file}")
    elif word == "${program}" and not sweep.get("program"):
        notes.refuse(("program",), "is missing: nothing says what runs", "name it there, or give --command")
    else:
        for name in re.findall(r"\$\{(?!program\}|interpreter\})([^}]*)\}", word):
            notes.refuse(key, f"`${{{name}}}` has no counterpart", "write the value that it stands for")
        text = word.replace("${program}", str(sweep.get("program"))).replace("${interpreter}", "python")
        yield _literal(text)


def _literal(text: str) -> str:
    """Its braces doubled: a single one begins a placeholder."""
    return text.replace("{", "{{").replace("}", "}}")


def _refuse_flags(word: str, name: str, space: Space) -> None:
    parameter, place = space.read.get(name), ("parameters", *name.split("."))
    choices = parameter.choices if isinstance(parameter, Categorical) else ()
    if not any(isinstance(choice, bool) for choice in (*choices, space.passed[name])):
        return
    if word == "${args_no_boolean_flags}":
        hint = f"let the program take --{name}=true, and write ${{args}}"
        space.notes.refuse(place, "is a flag that is there or not; a study's command always gives a value", hint)
    elif choices:
        space.notes.remark(place, "W&B writes True and False into the command, rltune true and false")


def _refuse_taken(name: str, space: Space) -> None:
    if space.passed[name] is not VARIES or name not in BUILT_IN:
        return
    hint = f"rename it; taken are {listed(BUILT_IN)}"
    if name == "seed":
        hint = "take it out of the sweep: rltune runs configurations on seeds of its own; write --seed={seed}"
    space.notes.refuse(("parameters", name), f"{{{name}}} in a command is {BUILT_IN[name]}", hint)
