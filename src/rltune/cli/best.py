"""`best`: the configuration to ship, or another one of the Pareto front."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from rltune.cli.arguments import Json, Study
from rltune.cli.exits import Exit, UsageError
from rltune.cli.locate import study_folder

if TYPE_CHECKING:
    from rltune.records import TrialRecord
    from rltune.session import Result


class Pick(StrEnum):
    """Which trial of the front `best` shows."""

    KNEE = "knee"
    SUM = "sum"
    CHEBYSHEV = "chebyshev"


def best(
    study: Study = None,
    *,
    top: Annotated[
        int | None,
        typer.Option(min=1, metavar="K", help="Also list the K best configurations by one run.", show_default=False),
    ] = None,
    pick: Annotated[
        Pick | None,
        typer.Option(
            help="With several objectives: the knee of the Pareto front, or by weights: the smallest sum of what is "
            "lost in each objective, or the smallest worst of it.",
            show_default=False,
        ),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=NUMBER",
            help="How much an objective matters; those not named do not. Repeatable.",
            show_default=False,
        ),
    ] = None,
    overrides: Annotated[
        bool, typer.Option("--overrides", help="Print only key=value words on one line, for a command.")
    ] = False,
    json: Json = False,
) -> None:
    """Show the configuration to ship.

    It is the winner on fresh seeds, your default where the winner is not better,
    or the best single run. With several objectives that is so in the first one;
    the Pareto front is shown beside it, and `--pick` and `--weight` take another
    trial of it. Ends with 3 where no trial is feasible.
    """
    from rltune import session
    from rltune.analysis.selection import finalists
    from rltune.cli.views import console
    from rltune.cli.views.as_json import best_json, override_texts

    result = session.read(study_folder(study))
    weights = _weights(weight or ())
    picked = _picked(result, pick, weights)
    shown = picked or result.best
    runs = finalists(result.records, result.objectives[0], top or 0)
    if json:
        console.print_json(best_json(result, runs, shown) | _choice(pick, weights, result))
    elif shown is None:
        _print_nothing(result, overrides)
    elif overrides:
        print(shlex.join(override_texts(result, shown)))
    else:
        _print_best(result, runs, picked, _why(pick, weights))
    if shown is None:
        raise typer.Exit(Exit.NOTHING)
    _print_unknown(result, shown)


# --- another trial of the front --------------------------------------------------------------------------------------


def _weights(texts: Sequence[str]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for text in texts:
        metric, equals, number = text.rpartition("=")
        if not (metric and equals):
            raise UsageError(f"--weight {text}: give METRIC=NUMBER, as in --weight validation_loss=2")
        if metric in weights:
            raise UsageError(f"--weight {text}: {metric} has a weight already, {weights[metric]:g}; give it once")
        try:
            weights[metric] = float(number)
        except ValueError:
            raise UsageError(f"--weight {text}: a weight is a number from 0 on, got '{number}'") from None
    return weights


def _picked(result: Result, pick: Pick | None, weights: Mapping[str, float]) -> TrialRecord | None:
    """The trial that was asked for in place of the recommended one; None where none was, or none is feasible."""
    from rltune.analysis import pareto
    from rltune.errors import InputError

    if pick is None and not weights:
        return None
    if len(result.objectives) == 1:
        raise UsageError(
            "--pick and --weight choose from the Pareto front of several objectives, and this study has one, "
            f"{result.objectives[0].metric}; leave them out"
        )
    if pick is Pick.KNEE:
        if weights:
            raise UsageError("the knee takes no weights; leave out --weight, or use --pick sum")
        return pareto.knee(result.records, result.objectives)
    if not weights:
        raise UsageError(f"--pick {pick} needs weights, as in --weight {result.objectives[0].metric}=2")
    try:
        by: pareto.Scalarisation = "chebyshev" if pick is Pick.CHEBYSHEV else "sum"
        return pareto.pick(result.records, result.objectives, weights, by)
    except InputError as error:
        raise UsageError("; ".join(map(str, error.problems))) from error


def _why(pick: Pick | None, weights: Mapping[str, float]) -> str:
    if pick is Pick.KNEE:
        return "the knee of the Pareto front"
    by = "most balanced" if pick is Pick.CHEBYSHEV else "best"
    given = ", ".join(f"{metric}={weight:g}" for metric, weight in weights.items())
    return f"the {by} of the Pareto front by the weights {given}"


def _choice(pick: Pick | None, weights: Mapping[str, float], result: Result) -> dict[str, object]:
    """What JSON says beside the trial itself, where there was a choice."""
    from rltune.cli.views.as_json import front_json

    if len(result.objectives) == 1:
        return {}
    chosen = pick or (Pick.SUM if weights else None)
    return {
        "pick": None if chosen is None else {"by": chosen.value, "weights": dict(weights)},
        "recommended": None if result.best is None else result.best.number,
        "pareto": front_json(result.pareto()),
    }


# --- what is printed -------------------------------------------------------------------------------------------------


def _print_best(result: Result, runs: Sequence[TrialRecord], picked: TrialRecord | None, why: str) -> None:
    from rltune.cli.views import console
    from rltune.cli.views.pareto import front_table, picked_text
    from rltune.cli.views.trials import trials_table
    from rltune.cli.views.verdict import best_text

    stdout = console.out()
    console.print_all(stdout, best_text(result) if picked is None else picked_text(result, picked, why))
    several = len(result.objectives) > 1
    for part in ("", *front_table(result, result.pareto(), picked, stdout.width)) if several else ():
        console.print_all(stdout, part)
    for part in ("", *trials_table(runs, result, stdout.width)) if runs else ():
        console.print_all(stdout, part)


def _print_nothing(result: Result, overrides: bool) -> None:
    from rltune.cli.views import console
    from rltune.cli.views.pareto import least_violating_table

    console.err().print("nothing to ship: no trial is feasible" + ("" if result.records else " yet"))
    found = result.pareto() if len(result.objectives) > 1 and not overrides else None
    if found is not None and found.least_violating:
        stdout = console.out()
        for part in least_violating_table(result, found, stdout.width):
            console.print_all(stdout, part)


def _print_unknown(result: Result, shown: TrialRecord) -> None:
    """Names on stderr what the overrides lack, and the file that has it."""
    from rltune.cli.views import console
    from rltune.cli.views.as_json import resolved, unknown_derived

    unknown = unknown_derived(result, resolved(result, shown))
    if not unknown:
        return
    folder = result.folder
    file = folder.best_overrides if shown is result.best else folder.trial(shown.number).overrides
    there = f"; {file} has them" if file.exists() else ""
    console.err().print(f"rltune: {', '.join(unknown)} follow from the trainer's config, which is not here{there}")
