"""A snapshot as a block of text: what `run` and `status --watch` redraw, and what `status` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.text import Text

from rltune.cli.views.pace import Outlook
from rltune.cli.views.running import rows
from rltune.cli.views.snapshot import Snapshot
from rltune.protocol.audit import Audit
from rltune.records import TrialRecord, own
from rltune.reporting import wording as w
from rltune.types import Cause

_LABEL_WIDTH = 11


def block(
    snapshot: Snapshot,
    outlook: Outlook,
    *,
    width: int,
    height: int | None = None,
    bar: bool = True,
    alive: bool = True,
    notes: Sequence[Text] = (),
) -> RenderableType:
    """Everything about a study in a few lines.

    Args:
        snapshot: The study.
        outlook: What is to be expected of it.
        width: Characters of a line.
        height: Lines at most, as far as running trials can be left out; None for any number of them.
        bar: Whether to draw how far it is.
        alive: Whether a process runs the study; else its last one died while trials ran.
        notes: Last lines.
    """
    parts: list[RenderableType] = [_headline(snapshot, outlook)]
    if bar and snapshot.n_planned:
        bar_line = ProgressBar(total=snapshot.n_planned, completed=snapshot.n_done, complete_style="cyan")
        parts.append(Padding(bar_line))  # which by itself ends no line
    parts += [line("phases", phases(snapshot)), *_budget(snapshot), *_known(snapshot), *_scores(snapshot)]
    after = list(_losses(snapshot))
    room = None if height is None else max(2, height - len(parts) - len(after) - sum(map(_lines, notes)))
    parts += _running(snapshot, outlook, width, room, alive=alive)
    return Group(*parts, *after, *notes)


def _lines(note: Text) -> int:
    return note.plain.count("\n") + 1


def _headline(snapshot: Snapshot, outlook: Outlook) -> Text:
    done = f"{snapshot.n_done} of {w.count(snapshot.n_planned, 'trial')}"
    limit = "" if snapshot.timeout_seconds is None else f" of {w.duration(snapshot.timeout_seconds)}"
    spent = f"  {w.duration(snapshot.elapsed_seconds)}{limit}"
    text = Text.assemble((snapshot.name, "bold"), f"  {done}", (spent, "dim"))
    if outlook.study is not None:
        text.append(f", about {w.roughly(outlook.study)} left", "dim")
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


def _budget(snapshot: Snapshot) -> Iterator[RenderableType]:
    """What was spent of what may be; where nothing limits them, GPU-hours all the same."""
    budget = snapshot.budget
    if budget is not None and budget.unit == "FRE":
        ended = budget.spent([r for r in snapshot.records if r.state.is_finished()])
        running = budget.spent(snapshot.records) - ended
        more = f", and {running:g} for what has not ended" if running else ""
        yield line("budget", Text.assemble(f"{ended:.1f} of {budget}", (more, "dim")))
    elif snapshot.full_run.gpus:
        hours = sum(map(snapshot.full_run.gpu_hours, own(snapshot.records)))
        of = f"{w.number(round(hours, 2))} of {budget}" if budget else f"{w.number(round(hours, 2))} GPU-hours so far"
        yield line("budget", Text(of))


def _scores(snapshot: Snapshot) -> Iterator[RenderableType]:
    """The default, the noise, and the best with its noise: of an objective each."""
    baselines = snapshot.baselines
    if baselines:
        means = ", ".join(w.plus_minus(each.mean, each.sd) for each in baselines)
        yield line("default", Text.assemble(means, (f"  {w.count(len(baselines[0].values), 'seed')}", "dim")))
    if (found := snapshot.audit) is not None:
        yield line("noise", Text(noise_in_words(found), "yellow" if found.too_noisy else "dim"))
    bests = snapshot.bests
    values = [w.number(b.value) if b.sd is None else w.plus_minus(b.value, b.sd) for b in bests]
    widths = [max(map(len, texts), default=0) for texts in (values, [str(b.record.number) for b in bests])]
    for i, (best, value) in enumerate(zip(bests, values, strict=True)):
        facts = f"  trial {best.record.number:<{widths[1]}}  {best.objective.metric}, {w.towards(best.objective)}"
        yield line("" if i else "best", Text.assemble((f"{value:<{widths[0]}}", "bold green"), (facts, "dim")))
    if len(bests) > 1:
        yield line("front", Text(f"{w.count(snapshot.n_front, 'trial')} that no other beats in every objective", "dim"))


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


def _running(
    snapshot: Snapshot, outlook: Outlook, width: int, room: int | None, *, alive: bool
) -> Iterator[RenderableType]:
    """As many as there is room for; those that are silent first."""
    running = sorted(snapshot.running, key=lambda r: (alive and r.number not in outlook.silent, r.number))
    if not running:
        return
    n = len(running) if room is None or room >= len(running) else room - 1
    shown = rows(snapshot, outlook, running[:n], width - _LABEL_WIDTH, alive=alive)
    for i, text in enumerate(shown):
        yield line("" if i else "running" if alive else "cut short", text)
    if len(running) > n:
        yield line("", Text(f"+{len(running) - n} more", "dim"))


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
