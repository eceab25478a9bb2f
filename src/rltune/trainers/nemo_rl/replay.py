"""What `command.txt` of a trial holds: a line for a shell that trains the same configuration anew.

The trial's very words would go on from its last checkpoint, with a temp folder that is gone. So the line makes new
folders: `replay-...` inside the trial's, for checkpoints and logs, and one for Ray, which it removes. The script, the
values and the GPUs are the trial's.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from rltune.folder import TrialDir
from rltune.trainers.context import METRICS_VARIABLE
from rltune.trainers.nemo_rl import isolation
from rltune.trainers.nemo_rl.hook import METRICS_VARIABLE as HOOK_METRICS
from rltune.trainers.nemo_rl.hook import STOP_VARIABLE

_NAME = "replay-of-this-trial"
"""Stands where the line has the new folder's name; of letters that need no more quotes than that will."""

_OF_THE_TRIAL = (STOP_VARIABLE, "RLTUNE_RESUME_FROM")

Paste: TypeAlias = Callable[[Sequence[str], Path, Mapping[str, str]], str]
"""From a command's words, its folder and its variables to the line."""


def elsewhere(settings: Mapping[str, Any], trial: Path) -> dict[str, Any]:
    """A trial's settings for a run in the new folder."""
    folder = trial / _NAME
    own = {isolation.CHECKPOINT_DIR: str(TrialDir(folder).checkpoints), isolation.LOG_DIR: str(folder / isolation.LOGS)}
    return {key: own.get(key.removeprefix("++"), value) for key, value in settings.items()}


def paste(words: Sequence[str], trial: Path, temp: Path) -> Paste:
    """What makes the line.

    Args:
        words: The command, with the settings of `elsewhere`.
        trial: The trial's folder.
        temp: Its temp folder, which ends with it.
    """

    def text(_words: Sequence[str], cwd: Path, variables: Mapping[str, str]) -> str:
        given = {name: value for name, value in variables.items() if name not in _OF_THE_TRIAL}
        given["RLTUNE_TRIAL_DIR"] = str(trial / _NAME)
        given |= {name: os.devnull for name in (METRICS_VARIABLE, HOOK_METRICS) if name in given}
        command = ["env", *(f"{name}={value}" for name, value in given.items()), *words]
        steps = (
            f"cd {shlex.quote(str(cwd))}",
            f"run=$(cd {shlex.quote(str(trial))} && mktemp -d replay-XXXXXX)",
            f"temp=$(mktemp -d {isolation.TEMP_NAMES}XXXXXX)",
            "trap 'rm -rf \"$temp\"' EXIT",
            " ".join(_quoted(word, {_NAME: "run", str(temp): "temp"}) for word in command),
        )
        return f"({' && '.join(steps)})\n"

    return text


def _quoted(word: str, variables: Mapping[str, str]) -> str:
    """For a shell, which fills in a variable in place of each of these texts."""
    quoted = shlex.quote(word)
    form = '"${}"' if quoted == word else "'\"${}\"'"
    for text, variable in variables.items():
        quoted = quoted.replace(text, form.format(variable))
    return quoted
