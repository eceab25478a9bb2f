"""A report as one page of HTML: opened offline, forwarded to a colleague, printed.

Figures are our own SVG, drawn in the reader's browser from the same JSON that `rltune report --json` prints, which the
page carries once. A chart library in the page, Plotly's, was weighed and left out. It would bring zoom, for 4.8 MB in
every page that is written anew each half minute of a study; its parallel coordinates need WebGL; its figures follow
neither the theme nor paper. Drawn by ourselves, a page of a thousand trials stays below 1.5 MB, text keeps its size on
a telephone, and a trial that is pointed at in one figure, or left out by the table's filter, is so in all of them.

What people read first is text that needs no script. It is escaped by Jinja2, and the figures make text nodes only; so
a parameter, or an error message, that looks like a tag stays what it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from rltune.analysis.early import SHARES
from rltune.analysis.effects import Effect
from rltune.analysis.importance import Importance
from rltune.reporting import wording as w
from rltune.reporting.html.sentences import headline, trials_line
from rltune.reporting.model import Report
from rltune.trainers.config_text import overrides
from rltune.types import Scalar

if TYPE_CHECKING:
    from jinja2 import Template

_SCRIPTS = ("charts.js", "data.js", "course.js", "parameters.js", "page.js")


def page(report: Report) -> str:
    """The whole page. The same report always gives the same page."""
    return _template().render(
        report=report,
        head=headline(report),
        trials_line=trials_line(report),
        effects=_ranked(report),
        methods={name: shares for name, shares in _methods(report.importance) if shares is not None},
        short=w.short_names(axis.parameter for axis in report.axes),
        place=_place,
        early_ranks=[(s, t) for s, t in zip(SHARES, report.early.taus, strict=True) if t is not None]
        if report.early
        else [],
        overrides=list(overrides(report.recommended.params)) if report.recommended else [],
        island=_island(report),
        style=_text("style.css"),
        script="\n".join(_text(name) for name in _SCRIPTS),
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup, escape

    def prose(text: str) -> Markup:
        """With names between backticks as code."""
        return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before

    env = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    env.filters |= {
        "number": w.number,
        "duration": w.duration,
        "value": w.value,
        "spaced": w.spaced,
        "prose": prose,
        "ours": Markup,  # our own files, and JSON that has been made safe
    }
    env.globals |= {"count": w.count, "plus_minus": w.plus_minus, "interval": w.interval, "p_better": w.p_better}
    env.globals |= {"towards": w.towards, "missing": w.MISSING, "importance_from": w.importance_from}
    return env.from_string(_text("template.html"))


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _island(report: Report) -> str:
    """JSON inside a script element: without `<` nothing in it can end the element."""
    text = json.dumps(report.to_json(), ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _methods(importance: Importance) -> Iterator[tuple[str, Mapping[str, float] | None]]:
    yield "fANOVA", importance.fanova
    yield "PED-ANOVA", importance.ped_anova


def _ranked(report: Report) -> list[Effect]:
    shares = report.importance.fanova or report.importance.ped_anova or {}
    return sorted(report.effects, key=lambda e: (-shares.get(e.parameter, 0.0), -abs(e.correlation or 0.0)))


def _place(effect: Effect) -> str:
    """Where the best fifth lies."""
    found: tuple[Scalar, ...] | None = effect.best_fifth
    if found is None:
        return w.MISSING
    if effect.is_choice:
        return ", ".join(w.value(choice) for choice in found)
    low, high = found
    return w.value(low) if low == high else f"{w.value(low)} to {w.value(high)}"
