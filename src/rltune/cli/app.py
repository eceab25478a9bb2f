"""The verbs, in the order in which they are needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from rltune.cli.best import best
from rltune.cli.check import check
from rltune.cli.compare import compare
from rltune.cli.control import retry, stop
from rltune.cli.dashboard import dashboard
from rltune.cli.importing import import_
from rltune.cli.init import init
from rltune.cli.read import export, list_, status
from rltune.cli.refine import refine
from rltune.cli.report import report
from rltune.cli.run import demo, run
from rltune.cli.show import show

app = typer.Typer(
    name="rltune",
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_PANELS: dict[str, dict[str, Callable[..., None]]] = {
    "Set up and run": {"demo": demo, "init": init, "import": import_, "check": check, "run": run},
    "While it runs": {"status": status, "dashboard": dashboard, "stop": stop, "retry": retry},
    "What came out": {
        "best": best,
        "report": report,
        "list": list_,
        "show": show,
        "compare": compare,
        "export": export,
        "refine": refine,
    },
}

for panel, verbs in _PANELS.items():
    for name, verb in verbs.items():
        app.command(name, rich_help_panel=panel)(verb)


def _version(wanted: bool) -> None:
    if wanted:
        from rltune import __version__

        typer.echo(f"rltune {__version__}")
        raise typer.Exit


@app.callback()
def rltune(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Tune the hyperparameters of RL post-training, and prove that the winner beats what you had.

    Try it: `rltune demo`. For a job of your own: `rltune init`, then `rltune check` and `rltune run`.
    """
