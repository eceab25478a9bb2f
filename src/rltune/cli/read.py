"""Verbs that read a study: `status`, `list` and `export`."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rltune.cli.arguments import Json, Study
from rltune.cli.locate import study_folder
from rltune.types import Purpose

if TYPE_CHECKING:
    from rltune.records import TrialRecord
    from rltune.session import Result

_WATCH_SECONDS = 2.0


class State(StrEnum):
    """Trial states, as `list` takes them."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"


class Order(StrEnum):
    """What `list` sorts by."""

    NUMBER = "number"
    VALUE = "value"
    SECONDS = "seconds"


class Format(StrEnum):
    """What `export` writes."""

    CSV = "csv"
    JSON = "json"
    LEDGER = "ledger"


def status(
    study: Study = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every two seconds, until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """Show how far a study is, and which process runs it."""
    from rltune.cli.views import console
    from rltune.cli.views.as_json import snapshot_json
    from rltune.cli.views.status import look, status_text

    path = study_folder(study)
    if json:
        console.print_json(snapshot_json(*look(path)))
    elif watch and console.out().is_terminal:
        from rich.live import Live

        with Live(status_text(look(path)), console=console.out(), auto_refresh=False) as live:
            while True:
                time.sleep(_WATCH_SECONDS)
                live.update(status_text(look(path)), refresh=True)
    else:
        console.print_all(console.out(), status_text(look(path)))


def list_(
    study: Study = None,
    state: Annotated[State | None, typer.Option(help="Only trials in this state.")] = None,
    purpose: Annotated[Purpose | None, typer.Option(help="Only trials that ran for this purpose.")] = None,
    sort: Annotated[Order, typer.Option(help="By number, best first, or longest first.")] = Order.NUMBER,
    json: Json = False,
) -> None:
    """List the trials of a study."""
    from rltune import session
    from rltune.cli.views import console
    from rltune.cli.views.snapshot import STATES
    from rltune.cli.views.trials import trials_table

    result = session.read(study_folder(study))
    records = [r for r in result.records if state in (None, STATES[r.state]) and purpose in (None, r.purpose)]
    records = _sorted(records, result, sort)
    stdout = console.out()
    if json:
        console.print_json([r.to_json() for r in records])
    elif not records:
        stdout.print("no trial is like that" if result.records else "no trial has been run yet")
    else:
        for part in trials_table(records, result, stdout.width):
            console.print_all(stdout, part)


def _sorted(records: list[TrialRecord], result: Result, order: Order) -> list[TrialRecord]:
    if order is Order.VALUE:
        objective = result.objectives[0]
        return sorted(records, key=lambda r: (r.value is None, objective.standing(r.value, r.violations.values())))
    if order is Order.SECONDS:
        return sorted(records, key=lambda r: -(r.seconds or 0.0))
    return records


def export(
    study: Study = None,
    format_: Annotated[
        Format,
        typer.Option(
            "--format", "-f", help="A row, or an object, for each trial; ledger is that of NeMo RL's auto-research."
        ),
    ] = Format.CSV,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write this file in place of stdout.", show_default=False),
    ] = None,
) -> None:
    """Write every trial as CSV or JSON, or as a ledger in tab-separated columns."""
    from rltune import session
    from rltune.cli.views import console
    from rltune.errors import FolderError
    from rltune.folder import explain, write_atomic
    from rltune.reporting.files import ledger_tsv, trials_csv

    result = session.read(study_folder(study))
    if format_ is Format.CSV:
        text = trials_csv(result.records, [str(name) for name in result.config.search_space], result.objectives)
    elif format_ is Format.LEDGER:
        given, launcher = result.config.trainer.nemo_rl, result.config.executor.name
        recipe = "" if given is None else given.recipe
        text = ledger_tsv(result.records, result.objectives[0], result.folder, recipe=recipe, launcher=launcher)
    else:
        text = console.json_text([record.to_json() for record in result.records])
    if output is None:
        print(text, end="")
        return
    try:
        write_atomic(output, text)
    except OSError as error:
        raise FolderError(f"{output}: {explain(error)}") from error
    console.out().print(f"wrote {output}")
