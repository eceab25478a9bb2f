"""A snapshot as a block of text: what `run` redraws and `status` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.text import Text

from rltune.cli.views.snapshot import Latest, Snapshot
from rltune.protocol.audit import Audit
from rltune.records import TrialRecord
from rltune.reporting import wording as w
from rltune.types import Cause

_LABEL_WIDTH = 11


def block(
    snapshot: Snapshot, *, max_running: int, bar: bool = True, alive: bool = True, note: Text | None = None
) -> RenderableType:
    """Everything about a study in a few lines.

    Args:
        snapshot: The study.
        max_running: So many running trials get a line.
        bar: Whether to draw how far it is.
        alive: Whether a process runs the study; else its last one died while trials ran.
        note: Last lines.
    """
    parts: list[RenderableType] = [_headline(snapshot)]
    if bar and snapshot.n_planned:
        bar_line = ProgressBar(total=snapshot.n_planned, completed=snapshot.n_done, complete_style="cyan")
        parts.append(Padding(bar_line))  # which by itself ends no line
    parts += [line("phases", phases(snapshot)), *_known(snapshot), *_scores(snapshot)]
    parts += _running(snapshot, max_running, "running" if alive else "cut short")
    parts += _losses(snapshot)
    return Group(*parts, *([note] if note else []))


def _headline(snapshot: Snapshot) -> Text:
    done = f"{snapshot.n_done} of {w.count(snapshot.n_planned, 'trial')}"
    limit = "" if snapshot.timeout_seconds is None else f" of {w.duration(snapshot.timeout_seconds)}"
    spent = f"  {w.duration(snapshot.elapsed_seconds)}{limit}"
    text = Text.assemble((snapshot.name, "bold"), f"  {done}", (spent, "dim"))
    if (left := snapshot.remaining_seconds) is not None:
        text.append(f", about {w.duration(left)} left", "dim")
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def phases(snapshot: Snapshot) -> Text:
    """`baseline 3/3 · search 12/16 · final 0/9`, the present one emphasised."""
    words = [
        Text(f"{purpose.value} {done}/{planned}", "bold" if purpose.value == snapshot.phase else "dim")
        for purpose, done, planned in snapshot.phases
    ]
    return Text(" · ", "dim").join(words)


def _known(snapshot: Snapshot) -> Iterator[RenderableType]:
    if snapshot.earlier:
        yield line("known", Text(f"{w.count(len(snapshot.earlier), 'trial')} of an earlier study", "dim"))


def _scores(snapshot: Snapshot) -> Iterator[RenderableType]:
    objective, baseline, best = snapshot.objective, snapshot.baseline, snapshot.best
    if baseline is not None:
        runs = w.count(len(baseline.values), "seed")
        yield line("default", Text.assemble(w.plus_minus(baseline.mean, baseline.sd), (f"  {runs}", "dim")))
    if (found := snapshot.audit) is not None:
        yield line("noise", Text(noise_in_words(found), "yellow" if found.too_noisy else "dim"))
    if best is not None:
        facts = f"  trial {best.number}  {objective.metric}, {w.towards(objective)}"
        yield line("best", Text.assemble((w.number(best.value), "bold green"), (facts, "dim")))


def noise_in_words(found: Audit) -> str:
    """`±0.021 from seed to seed: a gain below 0.05 could hardly be seen with 3 seeds each`."""
    seeds = w.count(found.claim_seeds, "seed")
    words = (
        f"±{w.rounded(found.spread.sd)} from seed to seed: a gain below {w.rounded(found.detectable)} could hardly be "
    )
    words += f"seen with {seeds} each"
    if not found.too_noisy or found.wished is None:
        return words
    more = "" if found.needed is None else f"`protocol.claim_seeds: {found.needed}`, or "
    return f"{words}; for {w.number(found.wished)} it takes {more}a steadier metric, as by more validation samples"


def _running(snapshot: Snapshot, limit: int, label: str) -> Iterator[RenderableType]:
    running = snapshot.running
    shown = running[:limit]
    took = {r.number: w.duration(r.seconds) if label == "running" else "" for r in shown}
    widths = [max((len(text) for text in texts), default=0) for texts in (map(str, took), took.values())]
    for i, record in enumerate(shown):
        latest = snapshot.latest(record)
        said = f"{w.number(latest.value)}{_where(snapshot, latest)}" if latest else ""
        facts = f"  {record.purpose.value:<8}  {took[record.number]:>{widths[1]}}  "
        yield line("" if i else label, Text.assemble(f"trial {record.number:<{widths[0]}}", (facts, "dim"), said))
    if len(running) > limit:
        yield line("", Text(f"and {len(running) - limit} more", "dim"))


def _where(snapshot: Snapshot, latest: Latest) -> str:
    folds = snapshot.plan.get("folds")
    return f" at step {latest.step}" if folds is None else f", mean of {latest.step} of {folds} folds"


def _losses(snapshot: Snapshot) -> Iterator[RenderableType]:
    counts = snapshot.counts
    if "pruned" in counts:
        yield line("pruned", Text(w.count(counts["pruned"], "trial"), "dim"))
    if snapshot.failures:
        failed = Text(str(sum(snapshot.failures.values())), "yellow")
        yield line("failed", Text.assemble(failed, (f"  {w.causes(snapshot.failures)}", "dim")))
    if "waiting" in counts:
        yield line("queued", Text(w.count(counts["waiting"], "trial"), "dim"))


def line(label: str, text: Text, *, whole: bool = False) -> Text:
    """A label and what belongs to it; cut where a terminal ends, unless it is to stay `whole`."""
    labelled = Text.assemble((f"{label:<{_LABEL_WIDTH}}", "dim"), text)
    if not whole:
        labelled.no_wrap, labelled.overflow = True, "ellipsis"
    return labelled


def how_it_ended(record: TrialRecord, *, alive: bool) -> Text:
    """`complete`, `failed: out of memory`, `pruned`, `infeasible`; `cut short` where the study's process died."""
    state = record.state.name.lower()
    if state == "running" and not alive:
        return Text("cut short", "yellow")
    if record.cause is Cause.INTERRUPTED:
        return Text("interrupted", "dim")
    if record.cause is not None:
        return Text(f"failed: {w.spaced(record.cause.value)}", "red")
    if record.values and not record.feasible and state == "complete":
        return Text("infeasible", "yellow")
    styles: Mapping[str, str] = {"complete": "", "running": "cyan", "fail": "red"}
    words = {"fail": "failed"}
    return Text(words.get(state, state), styles.get(state, "dim"))
