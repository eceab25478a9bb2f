"""Verbs that read a study: `status`, `list` and `export`."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rltune.cli.arguments import Json, Study
from rltune.cli.exits import Exit, UsageError
from rltune.cli.locate import study_folder
from rltune.types import Purpose

if TYPE_CHECKING:
    from rltune.cli.views.snapshot import Snapshot
    from rltune.records import TrialRecord
    from rltune.session import Result


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
    PARQUET = "parquet"
    JSON = "json"
    CONFIG = "config"
    OVERRIDES = "overrides"
    LEDGER = "ledger"


def status(
    study: Study = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again every second, until it ends or Ctrl-C.")
    ] = False,
    json: Json = False,
) -> None:
    """Show how far a study is, and which process runs it.

    With `--watch` it is the block of `rltune run`; where the output is piped, a line for every trial that ends. It
    ends with 0 when the study has, 3 when nothing of it is feasible, 75 when no process runs it any more and
    `rltune run` would go on, and 130 after Ctrl-C, which does not touch the study.
    """
    from rltune.cli.views import console
    from rltune.cli.views import status as view
    from rltune.cli.views.as_json import snapshot_json

    viewer, stdout = view.Viewer(study_folder(study)), console.out()
    if watch and json:
        raise UsageError("--watch and --json exclude each other; `rltune status --json` may be called again and again")
    if json:
        console.print_json(snapshot_json(viewer.look()))
    elif watch:
        try:
            raise typer.Exit(_as_the_study_ended(view.watch(viewer, stdout).snapshot))
        except KeyboardInterrupt:
            raise typer.Exit(Exit.INTERRUPTED) from None
    else:
        console.print_all(stdout, view.status_text(viewer.look(), stdout.width))


def _as_the_study_ended(snapshot: Snapshot) -> Exit:
    if snapshot.running or snapshot.phase:
        return Exit.PREEMPTED
    return Exit.DONE if snapshot.best is not None else Exit.NOTHING


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
            "--format",
            "-f",
            help="A row, or an object, for each trial; or of the trial to ship alone its whole configuration, or its "
            "overrides, one a line; ledger is that of NeMo RL's auto-research.",
        ),
    ] = Format.CSV,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write this file in place of stdout.", show_default=False),
    ] = None,
) -> None:
    """Write every trial as a table or as JSON, or the configuration to ship.

    In Parquet (`pip install 'rltune[parquet]'`) columns keep their types. A parameter that is not active in a trial is
    empty there. `config` and `overrides` end with 3 where no trial is feasible.
    """
    from rltune import session
    from rltune.cli.exits import Exit, UsageError
    from rltune.cli.views import console

    result = session.read(study_folder(study))
    if format_ is Format.PARQUET and output is None and sys.stdout.isatty():
        raise UsageError("Parquet is no text for a terminal: name a file, as in -o trials.parquet")
    content = _exported(result, format_)
    if content is None:
        console.err().print("nothing to ship: no trial is feasible" + ("" if result.records else " yet"))
        raise typer.Exit(Exit.NOTHING)
    if output is not None:
        _write(output, content)
        console.out().print(f"wrote {output}")
    elif isinstance(content, bytes):
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
    else:
        print(content, end="")


def _exported(result: Result, format_: Format) -> str | bytes | None:
    """What a format writes; None where it is about the trial to ship, and there is none."""
    from rltune.cli.views import console
    from rltune.reporting.files import ledger_tsv, trials_csv
    from rltune.reporting.parquet import trials_parquet

    match format_:
        case Format.CSV:
            return trials_csv(result.records, [str(name) for name in result.config.search_space], result.objectives)
        case Format.PARQUET:
            return trials_parquet(result.records, result.space.parameters, result.objectives)
        case Format.LEDGER:
            given, launcher = result.config.trainer.nemo_rl, result.config.executor.name
            recipe = "" if given is None else given.recipe
            return ledger_tsv(result.records, result.objectives[0], result.folder, recipe=recipe, launcher=launcher)
        case Format.JSON:
            return console.json_text([record.to_json() for record in result.records])
        case Format.CONFIG | Format.OVERRIDES:
            return _to_ship(result, format_)


def _to_ship(result: Result, format_: Format) -> str | None:
    """The whole configuration of the recommended trial, with what the trainer's own config has besides."""
    from collections.abc import Mapping

    from rltune.cli.views.as_json import override_texts
    from rltune.trainers.config_text import merged, yaml_text

    if result.best is None:
        return None
    if format_ is Format.OVERRIDES:
        return "".join(f"{text}\n" for text in override_texts(result, result.best))
    trainer = result.config.trainer
    base = trainer.config if isinstance(trainer.config, Mapping) else {}
    fixed = {} if trainer.nemo_rl is None else trainer.nemo_rl.overrides
    return yaml_text(merged(base, {**fixed, **result.space.resolve(result.best.params)}))


def _write(file: Path, content: str | bytes) -> None:
    from rltune.errors import FolderError
    from rltune.folder import explain, write_atomic

    try:
        if isinstance(content, bytes):
            beside = file.with_name(f".{file.name}.{os.getpid()}")
            beside.write_bytes(content)
            beside.replace(file)
        else:
            write_atomic(file, content)
    except OSError as error:
        raise FolderError(f"{file}: {explain(error)}") from error
