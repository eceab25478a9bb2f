"""What a notebook shows of a study: the report's head, as HTML that needs nothing else.

Styles stand on the elements, since a notebook that is not trusted loses its style sheets; and no colour is a
background, so that it reads in light and in dark.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rltune.reporting import wording as w
from rltune.reporting.html.sentences import headline, trials_line
from rltune.reporting.model import Report

if TYPE_CHECKING:
    from jinja2 import Template

_TONES = {"ship": "#1f9d5c", "keep": "#c98a1f", "open": "#7c8798", "nothing": "#e0473f"}

_SHARES_SHOWN = 6

_PAGE = """\
<div style="border:1px solid rgba(127,127,127,.4);border-left:6px solid {{ tone }};border-radius:8px;\
padding:10px 16px;max-width:820px;overflow-x:auto">
<div style="font-size:85%;opacity:.75">{{ report.name }} &middot; {{ trials }} &middot; \
{{ report.objective.metric }}, {{ towards(report.objective) }}</div>
<div style="font-size:140%;font-weight:600;color:{{ tone }}">{{ head.title }}</div>
<div>{{ head.why }}</div>
{% for remark in head.remarks %}
<div style="opacity:.75">{{ remark }}</div>
{% endfor %}
{% if facts %}
<table style="margin:8px 0;border-collapse:collapse;color:inherit"><tbody>
{% for name, value, about in facts %}
<tr><td style="text-align:left;opacity:.75;padding:1px 14px 1px 0">{{ name }}</td>\
<td style="text-align:left;font-weight:600;padding:1px 14px 1px 0">{{ value }}</td>\
<td style="text-align:left;opacity:.75">{{ about }}</td></tr>
{% endfor %}
</tbody></table>
{% endif %}
{% if changed %}
<table style="margin:8px 0;border-collapse:collapse;color:inherit"><thead><tr>\
<th style="text-align:left;padding:1px 14px 1px 0">parameter</th>\
<th style="text-align:right;padding:1px 14px 1px 0">default</th>\
<th style="text-align:right">{{ shipped }}</th></tr></thead><tbody>
{% for change in changed %}
<tr><td style="text-align:left;padding:1px 14px 1px 0"><code>{{ change.parameter }}</code></td>\
<td style="text-align:right;opacity:.75;padding:1px 14px 1px 0">\
{{ value(change.default) if change.in_default else missing }}</td>\
<td style="text-align:right;font-weight:600">{{ value(change.shipped) if change.in_shipped else missing }}</td></tr>
{% endfor %}
</tbody></table>
{% endif %}
{% if configuration %}
<table style="margin:8px 0;border-collapse:collapse;color:inherit"><thead><tr>\
<th style="text-align:left;padding:1px 14px 1px 0">parameter</th>\
<th style="text-align:right">{{ shipped }}</th></tr></thead><tbody>
{% for name, given in configuration.items() %}
<tr><td style="text-align:left;padding:1px 14px 1px 0"><code>{{ name }}</code></td>\
<td style="text-align:right;font-weight:600">{{ value(given) }}</td></tr>
{% endfor %}
</tbody></table>
{% endif %}
{% if shares %}
<table style="margin:8px 0;border-collapse:collapse;color:inherit"><thead><tr>\
<th style="text-align:left" colspan="3">importance, {{ method }}</th></tr></thead><tbody>
{% for name, share in shares %}
<tr><td style="text-align:left;padding:1px 14px 1px 0"><code>{{ name }}</code></td>\
<td style="text-align:right;padding:1px 8px 1px 0">{{ "%.0f"|format(100 * share) }} %</td>\
<td style="width:160px"><div style="height:9px;border-radius:2px;background:#3b7be0;\
width:{{ "%.0f"|format(100 * share) }}%"></div></td></tr>
{% endfor %}
</tbody></table>
{% endif %}
<div style="font-size:85%;opacity:.75">everything: <code>{{ page }}</code></div>
</div>
"""


def summary_html(report: Report, page: Path) -> str:
    """A study in a few lines.

    Args:
        report: The study's.
        page: Where its whole report is.
    """
    head, shares = headline(report), report.importance.fanova or report.importance.ped_anova or {}
    short = w.short_names(axis.parameter for axis in report.axes)
    order = sorted(shares, key=lambda name: -shares[name])[:_SHARES_SHOWN]
    return _template().render(
        report=report,
        head=head,
        tone=_TONES[head.kind],
        trials=trials_line(report),
        facts=_facts(report),
        changed=[change for change in report.changes if change.changed],
        # without a default there are no changes, and this alone says what to take
        configuration={} if report.changes or report.recommended is None else report.recommended.params,
        shipped="shipped" if report.verdict and report.verdict.ship else "recommended",
        shares=[(short[name], shares[name]) for name in order],
        method="fANOVA" if report.importance.fanova else "PED-ANOVA",
        page=page,
        towards=w.towards,
        value=w.value,
        missing=w.MISSING,
    )


def summary_text(report: Report) -> str:
    """The same in a line, as in `grpo-digits: 60 of 72 trials: 43 complete, 28 pruned. Ship trial 41.`."""
    return f"{report.name}: {trials_line(report)}. {headline(report).title}."


def _facts(report: Report) -> list[tuple[Any, ...]]:
    """Name, value, and what the value is."""
    facts: list[tuple[Any, ...]] = []
    found, metric = report.verdict, report.objectives[0].metric
    if found is not None and found.gain == found.gain:
        seeds = "untouched seeds" if found.seeds == "claim" else "seeds of the finals"
        gain = w.interval(found.gain, found.low, found.high)
        facts.append((f"gain in {metric}", gain, f"95 % interval, {seeds}"))
        facts.append(("", w.p_better(found.p_better), "by all runs of both"))
    runs = [] if found is None else [("default", found.default), ("best finalist", found.winner)]
    if found is not None and found.ship:
        runs = [("default", found.default), ("shipped", found.winner)]
    for name, each in runs:
        if each is not None and each.values:
            facts.append((name, w.plus_minus(each.mean, each.sd), w.count(len(each.values), "seed")))
    if not facts and report.recommended is not None and report.recommended.values:
        values = zip(report.objectives, report.recommended.values, strict=True)
        facts += [(o.metric, w.number(value), f"one run, {w.towards(o)}") for o, value in values]
    spent = report.efficiency
    about = f"{w.duration(spent.cost_seconds)} trained, {w.duration(spent.wall_seconds)} wall"
    facts.append(("cost", f"{w.number(report.spending.full_runs)} full runs", about))
    return facts


@lru_cache(maxsize=1)
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    env = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return env.from_string(_PAGE)
