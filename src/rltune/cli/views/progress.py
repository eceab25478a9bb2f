"""What a running study says: one block that is redrawn on a terminal, a line for every trial elsewhere."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self

from optuna.trial import TrialState
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from rltune import records as rec
from rltune.analysis.selection import ranked
from rltune.cli.views.block import block, noise_in_words, phases
from rltune.cli.views.choices import why
from rltune.cli.views.console import print_all
from rltune.cli.views.curves import Curves
from rltune.cli.views.pace import Outlook
from rltune.cli.views.snapshot import Snapshot
from rltune.config.build import Parts
from rltune.config.plan import full_run_of
from rltune.evaluation.folds import FoldEnd, Folding
from rltune.folder import StudyDir
from rltune.objective import Objective
from rltune.records import TrialRecord
from rltune.reporting import wording as w
from rltune.tuner import Tuner
from rltune.types import Cause, Idle, Purpose

_REDRAWS_PER_SECOND = 2.0


class Progress(AbstractContextManager["Progress"], Protocol):
    """Hears of a session of a study; entered while it lasts."""

    def opened(self, tuner: Tuner, parts: Parts) -> None:
        """The journal is open; no trial of this session has begun."""

    def changed(self, record: TrialRecord) -> None:
        """A trial has begun or ended."""

    def fold_ended(self, record: TrialRecord, end: FoldEnd) -> None:
        """A fold of a running trial has ended."""

    def stopping(self, why: str) -> None:
        """Called from a signal's handler."""

    def abandon(self) -> None:
        """The process is about to end at once."""


def progress(console: Console, folder: StudyDir) -> Progress:
    """The kind that fits the console."""
    live = console.is_terminal and not console.is_dumb_terminal
    return _Block(console, folder) if live else _Lines(console, folder)


def beginning(tuner: Tuner, parts: Parts, folder: StudyDir) -> list[Text]:
    """What is said before the first trial of a session."""
    snapshot = replace(of_tuner(tuner, parts, folder), records=rec.load(tuner.study))  # with what waits
    waiting = snapshot.in_state(TrialState.WAITING)
    lines = [Text.assemble((parts.config.name, "bold"), ("  in ", "dim"), str(folder.path))]
    if not rec.own(snapshot.records):
        executor = parts.config.executor
        at_once = f", {executor.n_workers} at a time" if executor.n_workers > 1 else ""
        at_once = ", as many at a time as the cluster holds" if executor.fills_a_cluster else at_once
        lines.append(Text(plan_in_words(parts) + at_once))
        given = {"algorithm": parts.config.algorithm, "pruner": parts.config.pruner}
        lines += [Text(f"{label} {given[label].name}: {reason}", "dim") for label, reason in why(parts).items()]
    elif not waiting and tuner.plan.next(tuner.records) is Idle.DONE:
        lines.append(Text(f"finished already: {w.count(snapshot.n_done, 'trial')}, nothing is left to run"))
    else:
        lines.append(Text.assemble("goes on: ", phases(snapshot)))
    if waiting:
        lines.append(Text(f"{w.count(len(waiting), 'trial')} from before will be run first"))
    return [*lines, *(Text(f"note: {note}", "yellow") for note in parts.notes)]


def plan_in_words(parts: Parts) -> str:
    """`3 baseline + 16 search + 7 final + 4 claim = 30 trials`."""
    planned = {name: n for name, n in parts.plan.to_json()["phases"].items() if n}
    total = w.count(parts.plan.n_trials, "trial")
    words = " + ".join(f"{n} {name}" for name, n in planned.items())
    bound = "" if parts.plan.budget is None else f", within {parts.plan.budget}"
    return (f"{words} = {total}" if len(planned) > 1 else total) + bound


def of_tuner(tuner: Tuner, parts: Parts, folder: StudyDir) -> Snapshot:
    config = parts.config
    return Snapshot(
        name=config.name,
        folder=folder,
        objectives=tuner.plan.objectives,
        plan=tuner.plan.to_json(),
        records=tuner.records,
        elapsed_seconds=tuner.elapsed_seconds,
        timeout_seconds=tuner.timeout_seconds,
        budget=parts.plan.budget,
        full_run=full_run_of(config),
        workers=None if config.executor.fills_a_cluster else config.executor.n_workers,
    )


class _Lines:
    """Appends a line for every trial that ends; nothing is ever drawn over."""

    def __init__(self, console: Console, folder: StudyDir) -> None:
        self._console = console
        self._folder = folder
        self._tuner: Tuner | None = None
        self._parts: Parts | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def opened(self, tuner: Tuner, parts: Parts) -> None:
        self._tuner, self._parts = tuner, parts
        for line in beginning(tuner, parts, self._folder):
            print_all(self._console, line)

    def changed(self, record: TrialRecord) -> None:
        assert self._tuner is not None
        if record.state.is_finished():
            line = trial_line(record, self._tuner.plan.objectives, rec.own(self._tuner.records))
            self._console.print(Text(line), soft_wrap=True)
            self._audit(record)

    def _audit(self, record: TrialRecord) -> None:
        """Once the baseline has ended: what is not worth spending the rest for is best known now."""
        assert self._tuner is not None
        assert self._parts is not None
        snapshot = of_tuner(self._tuner, self._parts, self._folder)
        over = snapshot.phases and snapshot.phases[0].done == snapshot.phases[0].planned
        if record.purpose is Purpose.BASELINE and over and (found := snapshot.audit) is not None:
            self._console.print(Text(f"noise {noise_in_words(found)}", "yellow"), soft_wrap=True)

    def fold_ended(self, record: TrialRecord, end: FoldEnd) -> None:
        assert self._tuner is not None
        assert self._tuner.folding is not None
        line = fold_line(self._tuner.folding, self._tuner.plan.objectives, record, end)
        self._console.print(Text(line, "dim"), soft_wrap=True)

    def stopping(self, why: str) -> None:
        _tell(self._console, f"{why}\n")

    def abandon(self) -> None:
        _tell(self._console, "ended at once\n")


class _Block:
    """Redraws one block, from a thread of its own, so that it moves while trials are silent."""

    def __init__(self, console: Console, folder: StudyDir) -> None:
        self._console = console
        self._folder = folder
        self._note: Text | None = None
        self._live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def opened(self, tuner: Tuner, parts: Parts) -> None:
        for line in beginning(tuner, parts, self._folder):
            print_all(self._console, line)
        self._console.print()

        curves, failed = Curves(self._folder, tuner.plan.objectives[0].metric), Text()

        def draw() -> RenderableType:
            nonlocal failed
            notes = [] if self._note is None else [self._note]
            if failed:
                return Group(failed, *notes)
            try:
                snapshot = of_tuner(tuner, parts, self._folder)
                outlook = Outlook.of(snapshot, curves)
                width, height = self._console.width, self._console.height - 1
                return block(snapshot, outlook, width=width, height=height, notes=notes)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a view, the study is worth more
                failed = Text(f"the view of the study has failed ({error!r}); the study goes on", "yellow")
                return Group(failed, *notes)

        self._live = Live(
            console=self._console,
            get_renderable=draw,
            refresh_per_second=_REDRAWS_PER_SECOND,
            transient=True,
        )
        self._live.start()

    def changed(self, record: TrialRecord) -> None:
        pass  # the next redraw shows it

    def fold_ended(self, record: TrialRecord, end: FoldEnd) -> None:
        pass  # likewise

    def stopping(self, why: str) -> None:
        self._note = Text(why, "bold yellow")

    def abandon(self) -> None:
        _tell(self._console, "\x1b[?25h\nended at once\n")  # the cursor is hidden while the block lives


def _tell(console: Console, text: str) -> None:
    """Writes without any lock, because a signal's handler may have interrupted whoever holds it."""
    try:
        os.write(console.file.fileno(), text.encode())
    except (OSError, ValueError):
        pass


def trial_line(record: TrialRecord, objectives: Sequence[Objective], records: Sequence[TrialRecord]) -> str:
    """`trial 12 search finished accuracy=0.61 in 6.1 s (best 0.65, trial 7)`."""
    who, took = f"trial {record.number} {record.purpose.value}", w.duration(record.seconds)
    if record.cause is Cause.INTERRUPTED:
        return f"{who} interrupted after {took}"
    if record.state is TrialState.FAIL:
        return f"{who} failed after {took}: {w.failure(record.cause, record.message)}"
    if record.state is TrialState.PRUNED:
        return f"{who} pruned{_last_of(record)}, in {took}{_best(objectives, records)}"
    values = " ".join(f"{o.metric}={w.number(v)}" for o, v in zip(objectives, record.values or (), strict=False))
    how = "stopped early" if record.stopped_by else "finished"
    missed = ", ".join(name for name, v in record.violations.items() if v > 0)
    infeasible = f", infeasible: {missed} out of range" if missed else ""
    return f"{who} {how} {values} in {took}{infeasible}{_best(objectives, records, record)}"


def fold_line(folding: Folding, objectives: Sequence[Objective], record: TrialRecord, end: FoldEnd) -> str:
    """`trial 12 fold 3 of 5: loss=0.412, mean of 2: 0.405`."""

    def values(metrics: Mapping[str, float], *, named: bool) -> str:
        there = [o.metric for o in objectives if o.metric in metrics]
        return " ".join(f"{m}={w.number(metrics[m])}" if named else w.number(metrics[m]) for m in there)

    mean = f", mean of {end.n}: {values(end.means, named=len(objectives) > 1)}" if end.n > 1 else ""
    return f"  trial {record.number} {folding.name(end.fold)}: {values(end.metrics, named=True)}{mean}"


def _last_of(record: TrialRecord) -> str:
    if not record.curve:
        return ""
    step = max(record.curve)
    where = f"after {w.count(step, 'fold')}" if record.stopped_by == rec.RACE else f"step {step}"
    return f" at {w.number(record.curve[step])}, {where}"


def _best(objectives: Sequence[Objective], records: Sequence[TrialRecord], record: TrialRecord | None = None) -> str:
    """The best so far; empty where several objectives leave it open what that is."""
    if len(objectives) > 1:
        return ""
    best = next((r for r in ranked(records, objectives[0]) if r.feasible), None)
    if best is None:
        return ""
    if record is not None and best.number == record.number:
        return " (the best so far)"
    return f" (best {w.number(best.value)}, trial {best.number})"
