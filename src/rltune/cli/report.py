"""`report`: what the trials of a study say together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rltune.cli.arguments import Json, Study
from rltune.cli.exits import UsageError
from rltune.cli.locate import study_folder

if TYPE_CHECKING:
    from rltune.reporting.model import Report


def report(
    study: Study = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", "-m", help="With several objectives, the one to look at.", show_default=False),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write the page with all figures here; by default report.html in the study's folder.",
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Analyse a study: the verdict, what mattered, where the time went, what failed, and what to do next.

    The study may be running, finished, dead or a copy; only trials that have ended count. Also written as one page with
    figures and a table of the trials, report.html, which needs no network and no other file. With `--json` or
    `--metric` it is written only where `--html` says so.
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
    path = html or (None if json or metric or not analysis.rows else result.folder.report)
    written = path is not None and _write(analysis, path, asked=html is not None)
    if json:
        console.print_json(analysis.to_json())
        return
    console.print_all(console.out(), report_text(result, analysis))
    if written:
        console.print_all(console.out(), console.verbatim(f"\nas a page: {path}"))


def _write(analysis: Report, path: Path, *, asked: bool) -> bool:
    """Whether it was written; the study's folder may be somebody else's, so there a note is enough.

    Raises:
        UsageError: It cannot be written where the user has asked for it.
    """
    from rltune.cli.views import console
    from rltune.folder import explain, write_atomic
    from rltune.reporting.html.page import page

    try:
        write_atomic(path, page(analysis))
    except OSError as error:
        if asked:
            raise UsageError(f"--html {path}: {explain(error)}") from error
        console.err().print(f"rltune: {path} was not written: {explain(error)}")
        return False
    return True
