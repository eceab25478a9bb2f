"""`import`: a search of another tool as a study file."""

from __future__ import annotations

import os
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rltune.cli.arguments import Json, command_words
from rltune.cli.exits import UsageError

if TYPE_CHECKING:
    from rltune.importing.draft import Draft
    from rltune.importing.optuna_storage import OptunaStudy

_RUNS = Path("runs")


class Tool(StrEnum):
    """Where a search comes from."""

    OPTUNA = "optuna"
    WANDB = "wandb"
    HYDRA = "hydra"


class Goal(StrEnum):
    """Where a metric should go."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"


def import_(
    tool: Annotated[Tool, typer.Argument(metavar="TOOL", help="optuna, wandb or hydra.")],
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Optuna's storage, as in sqlite:///optuna.db or a journal's file; W&B's sweep.yaml; or the config of "
            "a Hydra application, with hydra.sweeper in it.",
        ),
    ],
    *,
    study: Annotated[
        str | None, typer.Option(metavar="NAME", help="The study in Optuna's storage, where it holds several.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric", "-m", metavar="NAME", help="What the objective is called, where the source does not say."
        ),
    ] = None,
    direction: Annotated[
        Goal | None, typer.Option(help="Where it should go, in place of what the sweep or the sweeper says.")
    ] = None,
    trainer: Annotated[
        str | None, typer.Option(metavar="MODULE:FUNCTION", help="The Python function that runs a trial.")
    ] = None,
    command: Annotated[
        str | None, typer.Option(metavar="WORDS", help="The command that runs a trial: 'python train.py {overrides}'.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write this file; by default NAME.yaml, or NAME-2.yaml."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file where there is one.")] = False,
    json: Json = False,
) -> None:
    """Write a study file that means the same as a search of Optuna, W&B or Hydra.

    What has no counterpart is refused with its line, or named at the head of the file. From Optuna the trials are taken
    over too: as a study of rltune under runs, which `list`, `report` and the others read, and which the new study knows
    from its start (`warm_start`). The storage itself is not changed. Hydra's overrides need `pip install
    'rltune[hydra]'`.
    """
    from rltune.cli.views import console

    if trainer is not None and command is not None:
        raise UsageError("give --trainer or --command, not both: a study tunes one of them")
    if tool is not Tool.OPTUNA and study is not None:
        raise UsageError("--study names a study in a storage of Optuna; leave it out")
    if tool is Tool.OPTUNA and direction is not None:
        raise UsageError("--direction: a study of Optuna's has its own; leave it out")
    given: dict[str, Any] = {
        "metric": metric,
        "command": None if command is None else command_words(command),
        "function": trainer,
    }
    if tool is Tool.OPTUNA:
        told = _from_optuna(source, study, given, output, force)
    else:
        told = _from_file(tool, Path(source), {**given, "direction": direction and direction.value}, output, force)
    if json:
        console.print_json(told)
    else:
        _print(told)


def _from_file(tool: Tool, path: Path, given: dict[str, Any], output: Path | None, force: bool) -> dict[str, Any]:
    if tool is Tool.WANDB:
        from rltune.importing.wandb_sweep import read_sweep as read
    else:
        from rltune.importing.hydra_sweep import read_sweeper as read
    from rltune.config.schema import safe_name

    draft = read(path, **given)
    file = _free(output or Path(f"{safe_name(draft.name)}.yaml"), force, path)
    _write(file, _checked(draft, file))
    return _told(draft, file)


def _from_optuna(
    storage: str, name: str | None, given: dict[str, Any], output: Path | None, force: bool
) -> dict[str, Any]:
    from rltune.config.schema import safe_name
    from rltune.errors import InputError
    from rltune.importing.draft import Setting
    from rltune.importing.optuna_storage import read_study
    from rltune.importing.optuna_study import draft_of, write_folder

    study = read_study(storage, name)
    old = safe_name(study.name)
    file = _free(output or Path(f"{old}-2.yaml"), force)
    new = safe_name(file.stem) if safe_name(file.stem) != old else f"{old}-2"
    try:
        draft = draft_of(study, new, **given)
    except InputError as error:
        raise UsageError("\n".join(f"{study.storage}: {study.name}: {each}" for each in error.problems)) from error
    _checked(draft, file)
    folder = write_folder(study, draft, _RUNS)
    known = Setting(os.path.relpath(folder.resolve(), file.resolve().parent))
    draft = replace(draft, settings={"warm_start": known, **draft.settings})
    _write(file, _checked(draft, file))
    return _told(draft, file) | {"trials": _counts(study), "folder": str(folder)}


def _free(file: Path, force: bool, source: Path | None = None) -> Path:
    if source is not None and file.exists() and source.exists() and file.samefile(source):
        raise UsageError(f"{file} is what is read; name the study file by -o")
    if file.exists() and not force:
        raise UsageError(f"{file} exists already; name another file with -o, or overwrite it with --force")
    return file


def _checked(draft: Draft, file: Path) -> str:
    """The file's text, which can be read."""
    from rltune import config as cfg
    from rltune.config.nodes import parse
    from rltune.importing.draft import text

    written = text(draft, file)
    cfg.from_mapping(parse(written)[0])
    return written


def _write(file: Path, written: str) -> None:
    from rltune.errors import FolderError
    from rltune.folder import explain, write_atomic

    try:
        write_atomic(file, written)
    except OSError as error:
        raise FolderError(f"{file}: {explain(error)}") from error


# --- what is printed -------------------------------------------------------------------------------------------------


def _told(draft: Draft, file: Path) -> dict[str, Any]:
    return {
        "source": draft.source,
        "file": str(file),
        "parameters": list(draft.parameters),
        "remarks": [{"where": remark.where, "text": remark.text} for remark in draft.remarks],
        "names_program": draft.names_program,
    }


def _counts(study: OptunaStudy) -> dict[str, int]:
    states = [trial.state.name.lower() for trial in study.trials]
    return {state: states.count(state) for state in dict.fromkeys(states)}


def _print(told: dict[str, Any]) -> None:
    from rich.text import Text

    from rltune.cli.views import console
    from rltune.reporting import wording as w

    stdout = console.out()
    if "folder" in told:
        shown = ", ".join(f"{n} {state}" for state, n in told["trials"].items())
        console.print_all(
            stdout, Text(f"{told['folder']} holds its trials ({shown}); `rltune report {told['folder']}`")
        )
    console.print_all(stdout, Text(f"wrote {told['file']}, {w.count(len(told['parameters']), 'parameter')}"))
    if told["remarks"]:
        console.print_all(stdout, Text("\nnot as it was there:", "bold"))
    for remark in told["remarks"]:
        console.print_all(stdout, Text.assemble("  ", (f"{remark['where']}: ", "cyan"), remark["text"]))
    if not told["names_program"]:
        console.print_all(stdout, Text("\nwhat ran is not known: put your command under `trainer`", "yellow"))
    console.print_all(stdout, Text("\nlook at it, then"))
    console.print_all(stdout, console.verbatim(f"  rltune check {told['file']}", "bold"))
