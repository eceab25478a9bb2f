"""`report`: what the trials of a study say together."""

from __future__ import annotations

from typing import Annotated

import typer

from rltune.cli.arguments import Json, Study
from rltune.cli.exits import UsageError
from rltune.cli.locate import study_folder


def report(
    study: Study = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", "-m", help="With several objectives, the one to look at.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Analyse a study: the verdict, what mattered, where the time went, what failed, and what to do next.

    The study may be running, finished, dead or a copy; only trials that have ended count.
    """
    from rltune import session
    from rltune.cli.views import console
    from rltune.cli.views.report import report_text
    from rltune.errors import InputError, StudyFileError

    result = session.read(study_folder(study))
    try:
        analysis = result.report(metric)
    except StudyFileError:
        raise
    except InputError as error:
        raise UsageError("\n".join(f"--{problem}" for problem in error.problems)) from error
    if json:
        console.print_json(analysis.to_json())
    else:
        console.print_all(console.out(), report_text(result, analysis))
