"""`show`: everything about one trial."""

from __future__ import annotations

from typing import Annotated

import typer

from rltune.cli.arguments import Json
from rltune.cli.exits import UsageError
from rltune.cli.locate import find, split, study_folder


def show(
    trial: Annotated[
        list[str],
        typer.Argument(metavar="TRIAL [STUDY]", help="A trial's number, and the study where it is not the only one."),
    ],
    json: Json = False,
) -> None:
    """Show everything about one trial.

    What it was given, what it measured, how it ended, and where its files are. As in `rltune show 12`, or `rltune
    show 12 runs/my-study`.
    """
    from rltune import session
    from rltune.cli.views import console
    from rltune.cli.views.as_json import trial_json
    from rltune.cli.views.trial import files, trial_text

    numbers, study = split(trial)
    if len(numbers) > 1:
        raise UsageError(f"show one trial at a time, not {len(numbers)}")
    result = session.read(study_folder(study))
    record = find(result.records, numbers[0])
    if json:
        there = {name: str(path) for name, path in files(result, record)}
        console.print_json(trial_json(result, record) | {"files": there})
    else:
        console.print_all(console.out(), trial_text(result, record))
