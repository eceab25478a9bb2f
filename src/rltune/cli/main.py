"""The entry: runs a verb, and turns every way in which it may end into an exit code."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Sequence

from rltune.cli import exits
from rltune.errors import RltuneError


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits with one of `exits.Exit`. What is not caught here is a bug of ours."""
    from typer.main import get_command

    from rltune.cli.app import app

    _prepare_streams()
    sys.excepthook = exits.report_bug
    try:
        get_command(app).main(None if arguments is None else list(arguments), prog_name="rltune")
    except RltuneError as error:
        exits.report(error)
        sys.exit(error.exit_code)


def _prepare_streams() -> None:
    """A reader that leaves, as `head` does, ends us quietly; a terminal without `±` gets a `?`."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
