"""How the command line ends: the exit codes, and the words for what went wrong."""

from __future__ import annotations

import sys
import traceback
from enum import IntEnum
from types import TracebackType

from rltune.errors import InputError, RltuneError, StudyFileError


class Exit(IntEnum):
    """The exit codes."""

    DONE = 0  # the plan is fulfilled, and some trial is feasible
    BUG = 1  # our own error
    USAGE = 2  # a wrong command line or study file; `RltuneError.exit_code`
    NOTHING = 3  # nothing feasible, or too many failures
    PREEMPTED = 75  # stopped by a scheduler or by `rltune stop`; run again to go on
    INTERRUPTED = 130  # the same after Ctrl-C


class UsageError(RltuneError):
    """The command line asks for something that cannot be."""


def report(error: RltuneError) -> None:
    """Says on stderr what the user can mend: every problem on a line of its own that an editor can jump to."""
    from rich.text import Text

    from rltune.cli.views.console import err

    console = err()
    if not isinstance(error, InputError):
        console.print(Text.assemble(("rltune: ", "bold red"), str(error)))
        return
    file = error.file if isinstance(error, StudyFileError) else None
    for problem in error.problems:
        place = f"{file or 'study'}:{problem.line}: " if problem.line else f"{file or 'study'}: "
        key = ".".join(str(part) for part in problem.key)
        console.print(
            Text.assemble(
                (place, "bold"),
                (f"{key}: " if key else "", "cyan"),
                problem.message,
                (f" ({problem.hint})" if problem.hint else "", "dim"),
            )
        )


def report_bug(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
    """Python's hook for what nobody caught."""
    from rltune import __version__

    traceback.print_exception(kind, error, where)
    print(
        f"\nThis is a bug in rltune {__version__}, unless the last lines above point into code of your own. "
        "Please report it to the rltune project with everything above.",
        file=sys.stderr,
    )
