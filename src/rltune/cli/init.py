"""`init`: a study file to begin with."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from rltune.cli.exits import UsageError

_TEXT = """\
# What to tune, and how.   rltune check {file}   shows what would run,   rltune run {file}   runs it.

name: {name}           # its folder is runs/{name}
n_trials: 40           # in all, over every session
seed: 0
# timeout_hours: 24
# algorithm: auto      # or tpe, gp, cmaes, nsga2, random, sobol, grid, or module:Class

trainer:
{trainer}
search_space:
{space}
# derived:             # values that follow from others
#   total_steps: 100000 // batch_size
# constraints:         # what every configuration fulfils
#   - batch_size <= 64

evaluation:
  metric: {metric}         # reported while a trial runs, or returned at its end
  direction: minimize  # or maximize
  # early_stopping: true   # ends a trial whose own curve no longer improves
  # constraints: {{memory_usage: {{max: 70e9}}}}   # also training_time, gpu_memory_usage

# pruner: median       # or percentile, halving, hyperband, plateau: ends trials that are behind the others
executor:
  workers: 1           # how many trials run at once
  # gpus_per_trial: 1
  # timeout_minutes: 60
"""

_FUNCTION = """\
  function: {function}   # train(config) or train(config, trial), in a module beside this file
  # config: config.yaml    # everything that is not tuned, and the default of what is
"""

_COMMAND = """\
  # In braces: {{config}}, a file with all parameters; {{overrides}}, key=value words; a parameter's name; {{seed}}.
  # Report with lines of JSON in the file that the variable RLTUNE_METRICS names, such as {{"step": 1, "loss": 0.5}}.
  command: {command}
  # config: config.yaml    # everything that is not tuned, and the default of what is
  # metrics: {{stdout: json}}   # or read what it prints, or {{tensorboard: logs}}
"""

_USUAL = ("learning_rate", "batch_size")

_PLAIN = re.compile(r"[A-Za-z_./-][\w./-]*", re.ASCII)


def init(
    file: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")] = Path(
        "study.yaml"
    ),
    trainer: Annotated[
        str | None, typer.Option(metavar="MODULE:FUNCTION", help="The Python function to tune.", show_default=False)
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS", help="The command to tune, such as 'python train.py --lr {lr}'.", show_default=False
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
) -> None:
    """Write a commented study file to begin with."""
    from rltune.cli.views.console import out
    from rltune.errors import FolderError
    from rltune.folder import explain, write_atomic

    if trainer is not None and command is not None:
        raise UsageError("give --trainer or --command, not both: a study tunes one of them")
    if file.exists() and not force:
        raise UsageError(f"{file} exists; `--force` writes over it, `-o` names another file")
    text = study_text(file, trainer or "train:train", command)
    try:
        write_atomic(file, text)
    except OSError as error:
        raise FolderError(f"{file}: {explain(error)}") from error
    out().print(f"wrote {file}: fill in its search space, then `rltune check {file}`")


def study_text(file: Path, function: str, command: str | None) -> str:
    """The file's text; it holds what `rltune check` finds nothing wrong with once the trainer is there.

    Raises:
        StudyFileError: The function or the command cannot be a trainer.
    """
    from rltune.config import from_mapping, safe_name
    from rltune.config.nodes import parse

    words = None if command is None else _words(command)
    trainer = (
        _FUNCTION.format(function=json.dumps(function)) if words is None else _COMMAND.format(command=_flow(words))
    )
    text = _TEXT.format(
        file=file,
        name=safe_name(file.resolve().parent.name),
        trainer=trainer,
        space="\n".join(_parameter(name) for name in _parameters(words)),
        metric="loss",
    )
    from_mapping(parse(text)[0])
    return text


def _words(command: str) -> list[str]:
    """The command's words, with a place for the parameters where it has none."""
    from rltune.trainers.placeholders import OVERRIDES, names_in

    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--command {command!r} cannot be split into words: {error}") from error
    if not words:
        raise UsageError("--command is empty")
    reached = {"config", OVERRIDES, *_own(words)} & {name for word in words for name in names_in(word)}
    return words if reached else [*words, "{overrides}"]


def _own(words: list[str]) -> list[str]:
    """The placeholders that are no words of ours, and so parameters."""
    from rltune.trainers.placeholders import BUILT_IN, names_in

    return list(dict.fromkeys(name for word in words for name in names_in(word) if name not in BUILT_IN))


def _parameters(words: list[str] | None) -> tuple[str, ...]:
    return tuple(_own(words or [])) or _USUAL


def _parameter(name: str) -> str:
    """A range that suits the name."""
    if re.search(r"batch|size|dim", name):
        given = "{type: categorical, choices: [16, 32, 64, 128], default: 32}"
    elif re.search(r"epoch|layer|step|num_|n_", name):
        given = "{type: int, min: 1, max: 8, default: 2}"
    elif re.search(r"dropout|momentum|beta|clip|temperature", name):
        given = "{type: float, min: 0.1, max: 1.0, default: 0.5}"
    else:
        given = "{type: float, min: 1e-5, max: 1e-2, log: true, default: 1e-3}"
    return f"  {name}: {given}"


def _flow(words: list[str]) -> str:
    """A YAML list on one line."""
    return f"[{', '.join(word if _PLAIN.fullmatch(word) else json.dumps(word) for word in words)}]"
