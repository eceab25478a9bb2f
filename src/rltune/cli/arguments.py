"""Arguments and options that several verbs share."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from rltune.cli.exits import UsageError

StudyFile: TypeAlias = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")]

Study: TypeAlias = Annotated[
    Path | None,
    typer.Argument(
        metavar="[STUDY]",
        help="The study's folder, its name under runs, or its file. Without it: the only study under runs.",
        show_default=False,
    ),
]

Set: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change one key of the study file, such as n_trials=40 or executor.workers=4. Repeatable.",
        show_default=False,
    ),
]

Trainer: TypeAlias = Annotated[
    str | None,
    typer.Option(metavar="MODULE:FUNCTION", help="Run this Python function in place of the file's trainer."),
]

Out: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The study's folder; by default its name under runs.")
]

Force: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Go on although the study file has changed what its trials mean.")
]

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


def command_words(command: str) -> list[str]:
    """What `--command` says, as a shell would split it.

    Raises:
        UsageError: It cannot be split, or is empty.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--command {command!r} cannot be split into words: {error}") from error
    if not words:
        raise UsageError("--command is empty")
    return words
