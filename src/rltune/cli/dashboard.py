"""`dashboard`: optuna-dashboard on a study's storage, to look at and not to change."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Annotated

import typer

from rltune.cli.arguments import Study
from rltune.cli.exits import UsageError
from rltune.cli.locate import study_folder

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from rltune.session import Result


def dashboard(
    study: Study = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Listen on this port; 0 takes a free one.")] = 8080,
) -> None:
    """Show a study in optuna-dashboard, read-only, on this machine alone.

    Needs `pip install 'rltune[dashboard]'`. A study that runs is shown as it goes on. Whatever would change the study
    is refused. Ctrl-C ends it.
    """
    from rltune import session
    from rltune.cli.views import console
    from rltune.reporting.dashboard import address

    result = session.read(study_folder(study))
    with _server(result, port) as server:
        stdout = console.out()
        stdout.print(f"{result.config.name}, read-only: {address(server, result.study)}")
        stdout.print("Ctrl-C ends it", style="dim")
        stdout.file.flush()
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            stdout.print("\nended")


def _server(result: Result, port: int) -> WSGIServer:
    from rltune.reporting.dashboard import dashboard_server

    try:
        return dashboard_server(result.study, [objective.metric for objective in result.objectives], port)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        why = "something else listens there" if error.errno == errno.EADDRINUSE else "permission denied"
        raise UsageError(f"--port {port}: {why}; give another one, or 0 for a free one") from error
