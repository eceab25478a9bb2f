"""The next study: as the text of its file, and what is different in it, as text or JSON."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text
from ruamel.yaml import YAML

from rltune.cli.views.console import verbatim
from rltune.cli.views.preview import parameter_range
from rltune.config.earlier import why_left_out
from rltune.config.edit import YamlText
from rltune.config.reader import ROOT
from rltune.protocol.refine import Refinement
from rltune.records import TrialRecord, effective
from rltune.reporting import wording as w
from rltune.session import Result
from rltune.space import NO_DEFAULT, Categorical, Parameter, SearchSpace


@dataclass(frozen=True)
class Next:
    """What the next study is called, and where things are.

    Attributes:
        seed: Another one: the same seeds would try the winner where it was chosen.
        split_seed: Of the folds, which stay as they are, so that trials of both studies can be compared fold by fold.
        file: Its study file.
        earlier: The folder of the study before.
    """

    name: str
    seed: int
    split_seed: int
    file: Path
    earlier: Path

    @property
    def warm_start(self) -> str:
        """The earlier study's folder, relative to the file."""
        return os.path.relpath(self.earlier.resolve(), self.file.resolve().parent)


# --- the study file --------------------------------------------------------------------------------------------------


def next_text(text: str, found: Refinement, following: Next) -> str:
    """A study file changed in place: what does not change stays as it is, line by line.

    Args:
        text: The study file of the study before.
        found: The new search space.
        following: What else is new.
    """
    document = YAML(typ="safe", pure=True).load(text)
    study, place = (document[ROOT], (ROOT,)) if ROOT in document else (document, ())
    new = YamlText(text)
    for key, value in (("name", following.name), ("warm_start", following.warm_start), ("seed", following.seed)):
        new.put((*place, key), value, after="name")
    folds = study["evaluation"].get("cross_validation")
    if isinstance(folds, Mapping) and folds.get("data") is not None and "seed" not in folds:
        new.put((*place, "evaluation", "cross_validation", "seed"), following.split_seed)
    for name, parameter in found.space.parameters.items():
        _change(new, (*place, "search_space", name), study["search_space"][name], parameter)
    return new.changed()


def _change(new: YamlText, place: tuple[str, ...], spec: Any, parameter: Parameter) -> None:
    """Writes what is different into one parameter's mapping, and nothing where it is the same."""
    given, wanted = _read(spec), _spec(parameter)
    different = {key: value for key, value in wanted.items() if key not in given or not _same(given[key], value)}
    if not different:
        return
    if not isinstance(spec, Mapping) or new.is_shared(*place):
        new.put(place, given | different)
        return
    for key, value in different.items():
        new.put((*place, key), value)


def _spec(parameter: Parameter) -> dict[str, Any]:
    bounds: dict[str, Any]
    if isinstance(parameter, Categorical):
        bounds = {"choices": list(parameter.choices)}
    else:
        bounds = {"min": parameter.low, "max": parameter.high}
    named = {"default": parameter.default, "prior": parameter.prior}
    return bounds | {key: value for key, value in named.items() if value is not NO_DEFAULT}


def _read(spec: Any) -> dict[str, Any]:
    """A parameter's mapping, or its short form `[float, 1e-5, 1e-3, {log: true}]` as one."""
    if isinstance(spec, Mapping):
        return dict(spec)
    kind, *rest = spec
    options = dict(rest.pop()) if rest and isinstance(rest[-1], Mapping) else {}
    names = ("choices",) if kind == "categorical" else ("min", "max")
    return {"type": kind, **dict(zip(names, rest, strict=True)), **options}


def _same(old: Any, new: Any) -> bool:
    if isinstance(new, list):
        return len(old) == len(new) and all(_same(a, b) for a, b in zip(old, new, strict=True))
    return isinstance(old, bool) == isinstance(new, bool) and bool(old == new)


# --- what is different -----------------------------------------------------------------------------------------------


def refinement_text(found: Refinement, result: Result, following: Next) -> RenderableType:
    """What `refine` prints."""
    return Group(
        Text.assemble((following.name, "bold"), (f"  after {found.n} configurations of {result.config.name}", "dim")),
        "",
        *_changes(found),
        *_untouched(found),
        "",
        *_known(found, result, following),
        Text(f"wrote {following.file}; look at it, then start it with"),
        verbatim(f"  rltune run {following.file}", "bold"),
    )


def _changes(found: Refinement) -> Iterator[RenderableType]:
    if not found.changes:
        yield Text("no range changes: the trials do not say clearly enough where the good values lie")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("parameter", overflow="fold")
    table.add_column("before", overflow="fold", style="dim")
    table.add_column("after", overflow="fold")
    table.add_column("reason", overflow="fold", style="dim")
    short = w.short_names(found.space.parameters)
    for change in found.changes:
        before, after = parameter_range(change.before), parameter_range(change.after)
        table.add_row(short[change.parameter], before, after, change.reason)
    yield table


def _untouched(found: Refinement) -> Iterator[RenderableType]:
    changed = {change.parameter for change in found.changes}
    same = [name for name in found.space.parameters if name not in changed]
    if same:
        yield Text(f"as before: {', '.join(w.short_names(same).values())}", "dim")
    for change in found.taken_back:
        yield Text(f"not changed: {change.parameter}, since then {change.reason}", "yellow")


def _known(found: Refinement, result: Result, following: Next) -> Iterator[RenderableType]:
    assert result.best is not None
    n = len(_inside(found.space, result))
    yield Text(f"default     the recommended configuration, trial {result.best.number}")
    yield Text(f"warm start  {w.count(n, 'trial')} of {following.warm_start} in the new space, known from the start")
    yield Text(f"seed        {following.seed}, so that the finals run on seeds that no trial has had")


def _inside(space: SearchSpace, result: Result) -> list[TrialRecord]:
    """The trials that the next study will take over."""
    return [record for record in effective(result.records) if not why_left_out(record, space)]


def refinement_json(found: Refinement, result: Result, following: Next) -> dict[str, Any]:
    """The same for programs."""
    assert result.best is not None
    return {
        "name": following.name,
        "file": str(following.file),
        "warm_start": {"folder": following.warm_start, "trials": len(_inside(found.space, result))},
        "seed": following.seed,
        "tried": found.n,
        "best": found.k,
        "changes": [
            {"parameter": c.parameter, "before": _spec(c.before), "after": _spec(c.after), "reason": c.reason}
            for c in found.changes
        ],
        "taken_back": [{"parameter": c.parameter, "reason": c.reason} for c in found.taken_back],
        "default": {"trial": result.best.number, "params": found.space.defaults()},
    }
