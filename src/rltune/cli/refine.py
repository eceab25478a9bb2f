"""`refine`: the next study, from what the trials of one say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rltune.cli.arguments import Json, Study
from rltune.cli.exits import UsageError
from rltune.cli.locate import study_folder

if TYPE_CHECKING:
    from rltune.config import StudyConfig
    from rltune.protocol.refine import Refinement
    from rltune.session import Result


def refine(
    study: Study = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write this file; by default NAME-2.yaml.", show_default=False
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file where there is one.")] = False,
    json: Json = False,
) -> None:
    """Write the study file of the next study, with a search space that the trials of this one suggest.

    Ranges shrink to where the best trials lie, or grow where these lie at an end; what the trials say nothing about
    stays. The recommended configuration becomes the default, and the next study knows this one's trials from its start
    (`warm_start`). Given a study file, its comments are kept.
    """
    from rltune import session
    from rltune.cli.views import console
    from rltune.cli.views.refine import Next, next_text, refinement_json, refinement_text
    from rltune.errors import FolderError
    from rltune.folder import explain, write_atomic

    result = session.read(study_folder(study))
    base = _base_file(study, result)
    found = _refined(result)
    name = _next_name(result.config)
    file = output if output is not None else base.parent / f"{name}.yaml" if base is study else Path(f"{name}.yaml")
    if file.exists() and not force:
        raise UsageError(f"{file} exists already; name another file with -o, or overwrite it with --force")
    seed = result.config.seed
    following = Next(name, seed + 1, seed, file, result.folder.path)
    text = next_text(base.read_text(encoding="utf-8-sig"), found, following)
    _check(text)
    try:
        write_atomic(file, text)
    except OSError as error:
        raise FolderError(f"{file}: {explain(error)}") from error
    if json:
        console.print_json(refinement_json(found, result, following))
    else:
        console.print_all(console.out(), refinement_text(found, result, following))


def _base_file(given: Path | None, result: Result) -> Path:
    """The study file to change: the user's own where it still is what was run, since only that has comments."""
    from rltune import config as cfg

    kept = result.folder.study_file
    if given is None or not given.is_file() or given.resolve() == kept.resolve():
        return kept
    changed = [d.key for d in cfg.compare(cfg.load(kept), cfg.load(given)) if not d.key.startswith("trainer.config")]
    return kept if changed else given


def _refined(result: Result) -> Refinement:
    from rltune.analysis.importance import importance
    from rltune.errors import InputError
    from rltune.protocol import refine as protocol

    if len(result.objectives) > 1:
        n = len(result.objectives)
        raise UsageError(f"this study has {n} objectives, and what is best for one is not for another; refine by hand")
    if result.best is None:
        raise UsageError("no trial is feasible, so there is nothing to narrow the search space around")
    objective, space = result.objectives[0], result.space
    shares = importance(result.records, objective, space)
    both = [method for method in (shares.fanova, shares.ped_anova) if method is not None]
    agreed = {name: max(method.get(name, 1.0) for method in both) for name in space.parameters} if both else None
    try:
        return protocol.refine(space, result.records, objective, result.best.params, agreed)
    except InputError as error:
        raise UsageError(f"study folder {result.folder.path}: {error}") from error


def _next_name(config: StudyConfig) -> str:
    """`sort` is followed by `sort-2`, and `sort-2` by `sort-3`, unless there is such a study already."""
    match = re.fullmatch(r"(.*)-(\d+)", config.name)
    stem, number = (match[1], int(match[2])) if match else (config.name, 1)
    while True:
        number += 1
        name = f"{stem[:95]}-{number}"
        if not (Path(config.out) / name).exists():
            return name


def _check(text: str) -> None:
    """What is written can be read: a fault of ours is found here, before it is on the disk."""
    from rltune import config as cfg
    from rltune.config.nodes import parse

    cfg.from_mapping(parse(text)[0])
