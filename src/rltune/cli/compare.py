"""`compare`: two studies, or two trials, side by side."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rltune.cli.arguments import Json
from rltune.cli.exits import UsageError
from rltune.cli.locate import find, study_folder

if TYPE_CHECKING:
    from rltune.comparison import StudyComparison, TrialComparison

_FORMS = "as in `rltune compare runs/a runs/b`, `rltune compare 3 12 runs/a`, or `rltune compare a#3 b#12`"
_TRIAL = re.compile(r"(?:(.+)#)?(\d+)")


def compare(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="A B", help="Two studies; or two trials, STUDY#NUMBER each, or their numbers and a study."
        ),
    ],
    json: Json = False,
) -> None:
    """Compare two studies, or two trials: search space, settings, budget, results, configurations and curves.

    As in `rltune compare runs/a runs/b`; or `rltune compare 3 12 runs/a` for two trials of one study, and `rltune
    compare a#3 b#12` for trials of two. Where values of one mean something else than those of the other, it says why
    and does not set them against each other.
    """
    from rltune.cli.views import console
    from rltune.cli.views.compare import studies_text, trials_text
    from rltune.comparison import StudyComparison

    found = _found(what)
    if json:
        console.print_json(found.to_json())
    elif isinstance(found, StudyComparison):
        console.print_all(console.out(), studies_text(found))
    else:
        console.print_all(console.out(), trials_text(found))


def _found(words: list[str]) -> StudyComparison | TrialComparison:
    from rltune import session
    from rltune.comparison import Trial, compare_studies, compare_trials

    named = [_TRIAL.fullmatch(word) for word in words]
    trials = [match for match in named if match is not None]
    studies = [word for word, match in zip(words, named, strict=True) if match is None]
    if not trials and len(studies) == 2:
        a, b = (session.read(study_folder(Path(study))) for study in studies)
        if a.folder.path.resolve() == b.folder.path.resolve():
            raise UsageError(f"{a.folder.path} is named twice; name another study beside it")
        return compare_studies(a, b)
    if len(trials) != 2 or len(studies) > 1 or (studies and all(match[1] for match in trials)):
        raise UsageError(f"give two studies or two trials, {_FORMS}; got {' '.join(words)}")
    shared = Path(studies[0]) if studies else None
    ends = []
    for match in trials:
        result = session.read(study_folder(Path(match[1]) if match[1] else shared))
        ends.append(Trial(result, find(result.records, int(match[2]))))
    if ends[0].result.folder.path.resolve() == ends[1].result.folder.path.resolve() and trials[0][2] == trials[1][2]:
        raise UsageError(f"trial {trials[0][2]} is named twice; name another one beside it")
    return compare_trials(*ends)
