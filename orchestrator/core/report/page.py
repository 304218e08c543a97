"""A report as one HTML page that needs nothing but itself: no script, no request, plots as SVG."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from broker_config import words
from broker_config.messages import Summary
from broker_config.report import Report
from orchestrator.core.content_hash import content_hash

from .plot import NARROW, WIDE, Plot, distribution_plot, ended_plot, load_plot, stretches

# jinja2 is imported where it is used: most orchestrators render few reports or none.
if TYPE_CHECKING:
    from jinja2 import Template

#: Bars of the plots over time, in the wide and in the narrow form.
_BARS = {WIDE: 150, NARROW: 50}
#: Rows that a table of groups shows.
MAX_ROWS = 100


def page(report: Report) -> str:
    """The page. Every text of it that came from users or sites is escaped."""
    from markupsafe import Markup

    load = report.total.metrics.get("load")
    marks = [(f"p{p}", getattr(load, f"p{p}")) for p in (50, 95, 99)] if load else []
    began = report.started_at
    parts = {w: stretches(report.timeline, report.moment_s, began, most) for w, most in _BARS.items()}
    return _template().render(
        r=report,
        style=Markup(style()),
        style_source=Markup(content_hash(style())),
        c=report.counts,
        load=load,
        took=_took(report),
        metrics=_rows(report.total.metrics, report.calm),
        other=report.counts.cancelled + report.counts.lost + report.counts.dropped,
        ran=report.counts.ok + report.counts.failed + report.counts.lost,
        late_starts=report.total.metrics.get("start_error"),
        strange=[g for g in report.got if g.asked != g.got],
        parts=parts[NARROW],
        ended=_both(lambda w: ended_plot(parts[w], w)),
        loads=_both(lambda w: load_plot(parts[w], w)),
        distribution=_both(lambda w: distribution_plot(report.load_distribution, marks, w)),
        checks=[s for s in report.steps if s.check],
        most=MAX_ROWS,
        spec=json.dumps(report.spec, ensure_ascii=False, indent=2),
    )


@cache
def style() -> str:
    """The page's one style element; what serves the page allows just this by its hash."""
    return "\n" + resources.files(__package__).joinpath("templates/page.css").read_text("utf-8")


def _both(make: Any) -> dict[str, Plot]:
    return {"wide": make(WIDE), "narrow": make(NARROW)}


def _rows(
    metrics: dict[str, Summary], calm: dict[str, Summary]
) -> list[tuple[str, str, Summary, Summary | None]]:
    """`(metric, label, all, without saturated)`, in the order of `words.METRICS`."""
    return [
        (name, label, metrics[name], calm.get(name))
        for name, label in words.METRICS.items()
        if name in metrics
    ]


def _took(report: Report) -> float | None:
    if report.started_at is None:
        return None
    return max(0.0, (report.ended_at or report.made_at) - report.started_at)


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("orchestrator.core.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        ms=words.milliseconds,
        seconds=words.seconds,
        number=words.number,
        percent=words.percent,
        moment=words.moment,
    )
    environment.globals["of_metric"] = words.of_metric
    return environment.get_template("page.html")
