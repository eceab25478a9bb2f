"""The Pareto front as a table, and one trial of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from rltune.analysis.pareto import Pareto
from rltune.cli.views.trials import Column, with_parameters
from rltune.cli.views.verdict import configuration, values
from rltune.objective import Objective
from rltune.records import TrialRecord
from rltune.reporting import wording as w
from rltune.session import Result


def picked_text(result: Result, record: TrialRecord, why: str) -> RenderableType:
    """A trial of the front that the user picked, in place of the recommended one; and why it is this one."""
    return Group(
        Text.assemble((f"trial {record.number}", "bold"), f", {why}"),
        values(result, record),
        Text("each value is of a single run, which is partly luck", "yellow"),
        *configuration(result, record),
    )


def front_table(result: Result, found: Pareto, picked: TrialRecord | None, width: int) -> Iterator[RenderableType]:
    """The front, best in the first objective first, and what it covers."""
    marks = {"picked": picked, "recommended": result.best, "knee": found.knee}
    trials = w.count(len(found.front), "trial")
    yield Text.assemble(("Pareto front", "bold"), (f"  {trials} that no other beats in every objective", "dim"))
    columns = [_numbers(found.front), _marks(found.front, marks), *_objectives(found.front, result.objectives)]
    yield from with_parameters(columns, found.front, result, width)
    if result.best is not None and result.best not in found.front:
        yield Text(f"trial {result.best.number}, which is recommended, is not on it by its own single run", "dim")
    yield _hypervolume(found)


def least_violating_table(result: Result, found: Pareto, width: int) -> Iterator[RenderableType]:
    """What came nearest, where no trial is feasible: the objectives, and by how much each constraint is missed."""
    nearest = found.least_violating
    yield Text.assemble(("nearest to feasible", "bold"), ("  by how much each constraint is missed", "dim"))
    names = list(dict.fromkeys(name for r in nearest for name, missed in r.violations.items() if missed > 0))
    missed: list[Column] = [
        (f"{name}\nmissed by", [Text(w.number(max(r.violations.get(name, 0.0), 0.0)), "yellow") for r in nearest])
        for name in names
    ]
    columns = [_numbers(nearest), *_objectives(nearest, result.objectives), *missed]
    yield from with_parameters(columns, nearest, result, width)


def _numbers(records: Sequence[TrialRecord]) -> Column:
    return "trial", [Text(str(r.number)) for r in records]


def _marks(records: Sequence[TrialRecord], marks: dict[str, TrialRecord | None]) -> Column:
    return "", [Text(", ".join(word for word, marked in marks.items() if marked is r), "green") for r in records]


def _objectives(records: Sequence[TrialRecord], objectives: Sequence[Objective]) -> Iterator[Column]:
    for i, objective in enumerate(objectives):
        name, towards = objective.metric.rpartition("/")[2], objective.direction.removesuffix("imize")
        yield f"{name}\n{towards}", [Text(w.number(r.values[i]) if r.values else w.MISSING, "bold") for r in records]


def _hypervolume(found: Pareto) -> Text:
    """With its way up to here: where it is flat at the end, more trials may not help."""
    assert found.reference is not None
    volumes = list(found.progress.values())
    point = ", ".join(f"{name} {w.number(value)}" for name, value in found.reference.items())
    return Text.assemble(
        ("hypervolume ", "dim"),
        w.number(found.hypervolume),
        (f" {w.sparkline(volumes)}", "cyan"),
        (f"  reference {point}", "dim"),
    )
