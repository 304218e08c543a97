"""Reports as real readers see them: parsers of XML, CSV and HTML."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from broker_config import codec
from broker_config.api import SessionRow
from broker_config.job_spec import read_spec
from broker_config.messages import ErrorInfo
from broker_config.report import Report, ReportBin, ReportMoment
from broker_config.sketch import Sketch
from orchestrator.core.report import lines, plot
from orchestrator.core.report.by_group import MAX_FAILURES, MAX_GROUPS, OTHERS, ByGroup
from orchestrator.core.report.data import BINS, _bins, make_report
from orchestrator.core.report.junit import junit
from orchestrator.core.report.page import page
from orchestrator.core.report.shown_spec import HIDDEN, shown_spec
from tests.support.rich_job import HOSTILE, SECRET, SPEC, T0, Rich, hostile, pages_of, rich, with_job

RICH = rich()
HOSTILE_JOB = hostile()


def grouped(case: Rich) -> ByGroup:
    groups = ByGroup()
    for rows in pages_of(case.rows):
        groups.take(rows)
    return groups


def xml_of(case: Rich) -> ElementTree.Element:
    return ElementTree.fromstring(junit(case.report, grouped(case).groups()))


# --- data ------------------------------------------------------------------------------------------------


def test_groups_steps_and_moments_sum_up_to_the_counts() -> None:
    r = RICH.report
    assert r.counts == RICH.job.counts
    for groups in (r.targets, r.platforms):
        assert sum(g.planned for g in groups) == r.counts.planned
        assert sum(g.ok for g in groups) == r.counts.ok
        assert sum(g.saturated for g in groups) == r.counts.saturated > 0
    assert sum(m.ok + m.failed + m.other for m in r.timeline) == r.counts.ended
    assert sum(b.count for b in r.load_distribution) == r.total.metrics["load"].count
    assert sum(g.sessions for g in r.got) == r.counts.ok + r.counts.failed
    assert sum(e.sessions for e in r.errors) == r.counts.failed
    assert [s.name for s in r.steps if s.check] == ["thanks"]
    assert r.total.error_rate == r.counts.failed / (r.counts.ok + r.counts.failed)


def test_without_saturated_sessions_the_metrics_are_those_of_the_others() -> None:
    calm = [r.measures.load for r in RICH.rows if not r.saturated and r.measures.load is not None]
    found = RICH.report.calm["load"]
    assert (found.count, found.min, found.max) == (len(calm), min(calm), max(calm))
    assert found.count == RICH.report.total.metrics["load"].count - RICH.report.counts.saturated
    assert found.p99 == pytest.approx(sorted(calm)[int(0.99 * (len(calm) - 1))], rel=0.0101)
    assert rich(calm=True).report.calm == {}


def test_thresholds_have_their_values() -> None:
    by_text = {t.threshold: t for t in RICH.report.thresholds}
    rate = by_text["error_rate < 2%"]
    assert (rate.holds, rate.actual, rate.shown) == (False, RICH.report.total.error_rate, "2.71%")
    early = by_text["lcp.p75{target=home} < 2s"]
    assert (early.holds, early.abort_on_fail, early.delay, early.window) == (True, True, 30.0, 60.0)
    none = rich(thresholds=["inp.p75{target=cart} < 1s", "dropped < 1"], running=True).report.thresholds
    assert [t.holds for t in none] == [True, True]


def test_a_report_of_a_job_that_nobody_has_begun() -> None:
    job = with_job(RICH, state="queued", verdict=None, reason="", started_at=None, ended_at=None).job
    report = make_report(job, None, made_at=T0)
    assert (report.counts.planned, report.total.planned, report.timeline) == (1_200, 1_200, [])
    assert "queued" in page(report)
    assert ElementTree.fromstring(junit(report, [])).get("failures") == "0"


def test_the_page_of_a_job_none_of_whose_targets_has_loaded() -> None:
    report = with_job(RICH).report
    groups = [msgspec.structs.replace(g, metrics={}) for g in report.targets]
    assert groups[0].name in page(msgspec.structs.replace(report, targets=groups))


def test_what_may_be_secret_is_not_in_it() -> None:
    assert SECRET in str(SPEC)
    for shown in (codec.encode(RICH.report).decode(), page(RICH.report), str(xml_of(RICH))):
        assert SECRET not in shown
    spec = shown_spec(RICH.job.spec)
    fills = [s["fill"]["value"] for s in spec["journey"]["steps"] if "fill" in s]
    assert fills == [HIDDEN, "${user.email}"]
    assert spec["egress"]["proxies"] == ["http://127.0.0.1:3128"]
    assert spec["data"] == {"name": "user", "mode": "session", "rows": 1, "columns": ["email"]}
    script = read_spec(
        {k: v for k, v in SPEC.items() if k not in ("journey", "data", "thresholds")}
        | {"script": {"source": f"async def journey(page, context):\n    secret = '{SECRET}'\n"}}
    )
    assert shown_spec(script)["script"] == {"function": "journey", "lines": 2}


def test_it_is_data_that_can_be_read_back() -> None:
    assert codec.decode(codec.encode(RICH.report), Report) == RICH.report


@pytest.mark.parametrize("values", [[5.0], [100.0, 101.0], [0.0, 3.0], [1e-6, 1e12], [0.0]])
def test_bins_hold_every_load_and_are_few(values: list[float]) -> None:
    sketch = Sketch()
    for v in values:
        sketch.add(v)
    bins = list(_bins(sketch))
    assert len(bins) <= BINS + 1
    assert sum(b.count for b in bins) == sum(v > 1e-4 for v in values)
    for b in bins:
        assert b.count in (0, sum(b.above < v <= b.up_to * 1.0001 for v in values))
    for width in (plot.WIDE, plot.NARROW):
        drawn = plot.distribution_plot(bins, [("p50", values[0])], width)
        assert all(0 <= b.x <= width and b.width > 0 and b.height > 0 for b in drawn.bars)


# --- JUnit -----------------------------------------------------------------------------------------------


def test_junit_counts_what_it_contains() -> None:
    root = xml_of(RICH)
    assert root.tag == "testsuites"
    suites = {s.get("name"): s for s in root}
    assert list(suites) == ["thresholds", "checks", "sessions"]
    for node, cases in ((root, list(root.iter("testcase"))), *((s, s.findall("testcase")) for s in root)):
        assert node.get("tests") == str(len(cases))
        assert node.get("failures") == str(sum(c.find("failure") is not None for c in cases))
        assert float(node.get("time", "")) >= 0
    properties = {p.get("name"): p.get("value") for p in suites["thresholds"].iter("property")}
    assert properties["planned"] == "1200"
    assert properties["tag.branch"] == "main"
    broken = [c.get("name") for c in suites["thresholds"] if c.find("failure") is not None]
    assert broken == ["verdict", "error_rate < 2%"]
    groups = grouped(RICH).groups()
    assert len(suites["sessions"].findall("testcase")) == len(groups) == 12
    assert sum(g.failed for g in groups) == RICH.report.counts.failed


@pytest.mark.parametrize(
    ("case", "failures", "errors"),
    [
        (rich(thresholds=["error_rate < 20%"]), False, 0),
        (rich(running=True), False, 0),
        (rich(thresholds=["error_rate < 1%"]), True, 0),
        (rich(thresholds=[], lost=3), True, 1),
        (with_job(rich(thresholds=["inp.max < 1ms"]), verdict="aborted", reason="cancelled"), True, 1),
    ],
)
def test_junit_fails_where_the_verdict_is_not_passed(case: Rich, failures: bool, errors: int) -> None:
    root = xml_of(case)
    assert root.get("errors") == str(errors)
    assert (root.get("failures") != "0") is failures
    told = "".join(c.text or "" for c in root.iter("system-out")) + "".join(
        c.text or "" for c in root.iter("failure")
    )
    assert "session " in told


def test_junit_names_the_threshold_that_ended_the_job() -> None:
    words = "ended early: lcp.p75{target=home} < 2s does not hold (was 2.3 s over the last 60s)"
    case = with_job(RICH, ended_by="threshold", reason=words)
    ended = [t.threshold for t in case.report.thresholds if t.ended_job]
    assert ended == ["lcp.p75{target=home} < 2s"]
    (failure,) = [c.find("failure") for c in xml_of(case).iter("testcase") if c.get("name") == ended[0]]
    assert failure is not None
    assert failure.get("message") == words
    assert "ended the job" in page(case.report)


def test_groups_are_bounded() -> None:
    groups = ByGroup()
    error = ErrorInfo(kind="timeout", detail="x" * 5_000)
    for n in range(MAX_GROUPS + 20):
        for _ in range(MAX_FAILURES + 5):
            row = SessionRow(
                session=n, attempt=1, status="failed", counted=True, seq=n, target=f"t{n}", error=error
            )
            groups.take([row])
    found = groups.groups()
    assert len(found) == MAX_GROUPS + 1
    assert sum(g.failed for g in found) == (MAX_GROUPS + 20) * (MAX_FAILURES + 5)
    assert next(g for g in found if g.target == OTHERS).failed == 20 * (MAX_FAILURES + 5)
    assert all(len(g.failures) == MAX_FAILURES and len(g.failures[0]) < 400 for g in found)


# --- CSV -------------------------------------------------------------------------------------------------


def read_csv(case: Rich) -> list[dict[str, str]]:
    text = lines.header() + b"".join(lines.lines(rows) for rows in pages_of(case.rows, 70))
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


def test_csv_has_a_line_for_each_session() -> None:
    rows = read_csv(RICH)
    c = RICH.report.counts
    assert Counter(r["status"] for r in rows) == {"ok": c.ok, "failed": c.failed}
    assert len({r["session"] for r in rows}) == len(rows)
    first, source = rows[0], RICH.rows[0]
    assert float(first["load"]) == pytest.approx(source.measures.load, abs=0.001)
    assert float(first["ended_at"]) == pytest.approx(source.ended_at, abs=0.001)
    assert (first["asked"], first["got"]) == (source.asked, source.platform)
    assert {r["got"] for r in rows if r["asked"] == "windows-msedge"} == {"linux-chromium"}
    assert Counter(r["saturated"] for r in rows)["yes"] == c.saturated
    assert {None} not in [set(r) for r in rows]


@pytest.mark.parametrize("text", ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx"])
def test_csv_begins_no_formula(text: str) -> None:
    row = SessionRow(
        session=1,
        attempt=1,
        status="failed",
        counted=True,
        seq=1,
        target=text,
        runner=text,
        error=ErrorInfo(kind=text, detail=f'{text}",\r\n=1'),
    )
    (read,) = csv.DictReader(io.StringIO((lines.header() + lines.lines([row])).decode(), newline=""))
    assert read["target"] == read["runner"] == read["error"] == f"'{text}"
    assert read["detail"] == f"'{text}\",\r\n=1"
    assert not any(str(cell).startswith(("=", "+", "-", "@", "\t", "\r", "\n")) for cell in read.values())


# --- HTML ------------------------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("case", [RICH, HOSTILE_JOB, rich(running=True), rich(calm=True, thresholds=[])])
def test_the_page_needs_nothing_but_itself(case: Rich) -> None:
    found = Reader(page(case.report))
    assert found.open == []
    assert found.tags["script"] == found.tags["img"] == found.tags["iframe"] == 0
    for tag, name, value in found.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in ("src", "href", "action", "style", "data", "xlink:href"):
            assert (tag, value) == ("link", "data:,") or value.startswith("margin"), (tag, name, value)
    assert found.tags["svg"] == found.tags["desc"] > 0
    assert found.tags["table"] == found.tags["caption"] > 0


def test_hostile_names_are_shown_as_they_are() -> None:
    text = Reader(page(HOSTILE_JOB.report)).text
    assert HOSTILE[:64] in text
    assert HOSTILE[8:72] in text
    assert '=HYPERLINK("http://x")' in text
    root = xml_of(HOSTILE_JOB)
    assert root.get("name") == HOSTILE[:64]
    assert any("\ufffd" in p.get("value", "") for p in root.iter("property"))


def test_the_page_tells_of_what_is_remarkable() -> None:
    text = " ".join(Reader(page(RICH.report)).text.split())
    c = RICH.report.counts
    assert f"{c.saturated} of 1 180 sessions ran while their machine was short of CPU" in text
    assert text.count("without saturated") == len(RICH.report.calm)
    assert "sessions ran on another platform than the one asked for" in text
    assert "20 could not start in time and were dropped" in text
    assert "https://tracker.example" in text
    running = " ".join(Reader(page(rich(running=True).report)).text.split())
    assert "The job is running" in running
    assert "with 7 sessions running" in running
    calm = Reader(page(rich(calm=True).report)).text
    assert "short of CPU" not in calm
    assert "without saturated" not in calm


def test_text_can_be_read_on_its_background() -> None:
    """WCAG 2.1 AA: 4.5 : 1, in light, in dark and in print; 3 : 1 for what is drawn."""
    css = (Path(plot.__file__).parent / "templates" / "page.css").read_text()
    themes = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6});", part)) for part in css.split(":root")[1:]]
    assert len(themes) == 3
    for colours in themes:
        for text in ("text", "soft", "accent", "failed"):
            for back in ("back", "sheet", "faint") if text != "failed" else ("sheet",):
                assert contrast(colours[text], colours[back]) >= 4.5, (text, back, colours)
        for kind in ("good", "bad", "warn"):
            assert contrast(colours[kind], colours[f"{kind}-back"]) >= 4.5, (kind, colours)
        for drawn in ("ok", "failed", "other", "mean", "longest"):
            assert contrast(colours[drawn], colours["sheet"]) >= 3, (drawn, colours)


def contrast(a: str, b: str) -> float:
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


# --- plots -----------------------------------------------------------------------------------------------


def test_stretches_are_few_and_lose_nothing() -> None:
    moments = [
        ReportMoment(
            at=T0 + 5 + i * 2, ok=i, failed=1, other=0, loads=i, load_mean=float(i), load_max=2.0 * i
        )
        for i in range(599)
    ]
    parts = plot.stretches(moments, 2.0, T0, 50)
    assert len(parts) <= 50
    assert (parts[0].at, parts[0].length) == (5.0, 24.0)
    assert sum(p.ok for p in parts) == sum(m.ok for m in moments)
    assert sum((p.load_mean or 0) * p.loads for p in parts) == pytest.approx(sum(i * i for i in range(599)))
    assert plot.stretches([], 1.0, T0, 50) == []
    # A clock that is years away is no offset.
    assert plot.stretches(moments, 2.0, 1.0, 50)[0].at == 0


@pytest.mark.parametrize("width", [plot.WIDE, plot.NARROW])
@pytest.mark.parametrize("seconds", [1, 7, 600, 90_000])
def test_everything_is_drawn_within_the_axes(width: float, seconds: int) -> None:
    moments = [
        ReportMoment(
            at=T0 + i * seconds, ok=3, failed=i % 2, other=1, loads=i % 3, load_mean=5.0, load_max=9e4
        )
        for i in range(40)
    ]
    parts = plot.stretches(moments, float(seconds), T0, 50)
    for drawn in (plot.ended_plot(parts, width), plot.load_plot(parts, width)):
        assert 2 <= len(drawn.x_ticks) <= width / 60
        assert 3 <= len(drawn.y_ticks) <= 7
        for bar in drawn.bars:
            assert drawn.left - 0.01 <= bar.x
            assert bar.x + bar.width <= width - drawn.right + 0.01
            assert drawn.top - 0.01 <= bar.y
            assert bar.y + bar.height <= drawn.height - drawn.bottom + 0.51
        for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", "".join(line.path for line in drawn.lines)):
            assert drawn.left <= float(x) <= width - drawn.right
            assert drawn.top - 0.1 <= float(y) <= drawn.height - drawn.bottom


@pytest.mark.parametrize("high", [1.05, 1.5, 4.0, 100.0, 1e6])
def test_the_logarithmic_axis_has_ticks_that_do_not_touch(high: float) -> None:
    bins = [ReportBin(above=180.0, up_to=180.0 * high, count=4)]
    for width in (plot.WIDE, plot.NARROW):
        ticks = [t.at for t in plot.distribution_plot(bins, [], width).x_ticks]
        assert len(ticks) >= 2
        assert all(b - a >= 40 for a, b in pairwise(ticks))
