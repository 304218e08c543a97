from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config.threshold import COUNTS, METRICS, PLAIN, RATES, SIZES, TIMES, parse


@pytest.mark.parametrize(
    ("text", "metric", "aggregate", "quantile", "operator", "limit"),
    [
        ("load.p95 < 2500ms", "load", "quantile", 0.95, "<", 2500),
        ("load.p95 < 2500", "load", "quantile", 0.95, "<", 2500),
        ("lcp.p75<2.5s", "lcp", "quantile", 0.75, "<", 2500),
        ("  duration.max  <=  1m ", "duration", "max", 0, "<=", 60_000),
        ("ttfb.p99.9 < 1s", "ttfb", "quantile", 0.999, "<", 1000),
        ("ttfb.p0 >= 0", "ttfb", "quantile", 0, ">=", 0),
        ("ttfb.p100 < 9s", "ttfb", "quantile", 1, "<", 9000),
        ("cls.p75 < 0.1", "cls", "quantile", 0.75, "<", 0.1),
        ("bytes.mean < 1.5MB", "bytes", "mean", 0, "<", 1_500_000),
        ("bytes.max < 2MiB", "bytes", "max", 0, "<", 2 * 1024**2),
        ("requests.min > 3", "requests", "min", 0, ">", 3),
        ("load.count == 24", "load", "count", 0, "==", 24),
        ("error_rate < 1%", "error_rate", "", 0, "<", 0.01),
        ("ok_rate >= 0.99", "ok_rate", "", 0, ">=", 0.99),
        ("failed == 0", "failed", "", 0, "==", 0),
        ("cancelled <= 5", "cancelled", "", 0, "<=", 5),
    ],
)
def test_expressions(
    text: str, metric: str, aggregate: str, quantile: float, operator: str, limit: float
) -> None:
    t = parse(text)
    assert (t.metric, t.aggregate, t.operator) == (metric, aggregate, operator)
    assert t.quantile == pytest.approx(quantile)
    assert t.limit == pytest.approx(limit)
    assert (t.group, t.value, t.text) == ("", "", text)


@pytest.mark.parametrize(
    ("text", "group", "value"),
    [
        ("lcp.p75{target=home} < 2.5s", "target", "home"),
        ('lcp.p75 { target = "the shop" } < 2s', "target", "the shop"),
        ("lcp.p75{target=http://127.0.0.1:1/?a=b} < 2s", "target", "http://127.0.0.1:1/?a=b"),
        ("error_rate{platform=linux-firefox} < 5%", "platform", "linux-firefox"),
    ],
)
def test_filters(text: str, group: str, value: str) -> None:
    t = parse(text)
    assert (t.group, t.value) == (group, value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a threshold"),
        ("load", "not a threshold"),
        ("load.p95", "not a threshold"),
        ("load.p95 < ", "not a threshold"),
        ("load.p95 < -1", "not a threshold"),
        ("load.p95 < 1e3", "e"),
        ("load.p95 != 3", "not a threshold"),
        ("load.p95 < 3 and more", "not a threshold"),
        ("load.p95{target=} < 3", "not a threshold"),
        ("2 > load.p95", "not a threshold"),
        ("load < 3s", "needs an aggregate after load"),
        ("load.p101 < 3s", "needs an aggregate"),
        ("load.p < 3s", "needs an aggregate"),
        ("load.median < 3s", "p95"),
        ("speed.p95 < 3s", "no metric 'speed'"),
        ("failed.max < 3", "takes no aggregate"),
        ("error_rate.p95 < 3%", "takes no aggregate"),
        ("load.p95 < 3%", "unit '%' does not fit load; allowed: ms, s, m"),
        ("load.p95 < 3MB", "does not fit"),
        ("bytes.p95 < 3s", "does not fit"),
        ("error_rate < 3s", "allowed: %"),
        ("cls.p75 < 1ms", "allowed: none"),
        ("load.count < 3s", "allowed: none"),
        ("load.p95{runner=a} < 3s", "is no filter; use target or platform"),
    ],
)
def test_what_is_no_threshold_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"threshold|needs|metric|aggregate|unit|filter") as caught:
        parse(text)
    assert words in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("operator", "below", "at", "above"),
    [
        ("<", True, False, False),
        ("<=", True, True, False),
        (">", False, False, True),
        (">=", False, True, True),
        ("==", False, True, False),
    ],
)
def test_operators(operator: str, below: bool, at: bool, above: bool) -> None:
    t = parse(f"load.p95 {operator} 2s")
    assert [t.holds(x) for x in (1999.9, 2000, 2000.1)] == [below, at, above]


@given(st.integers(0, 1000))
def test_a_limit_in_percent_is_the_fraction_itself(tenths: int) -> None:
    """As exact as a float can be: 35 of 100 is not below 35 %."""
    assert parse(f"error_rate < {tenths / 10:g}%").limit == tenths / 1000


@given(
    st.sampled_from((*METRICS, *RATES, *COUNTS)),
    st.sampled_from(["min", "max", "mean", "p50", "p99.9"]),
    st.sampled_from(["<", "<=", ">", ">=", "=="]),
    st.integers(0, 10**6),
)
def test_every_metric_can_be_limited(metric: str, aggregate: str, operator: str, limit: int) -> None:
    left = f"{metric}.{aggregate}" if metric in METRICS else metric
    t = parse(f"{left} {operator} {limit}")
    assert (t.metric, t.operator, t.limit) == (metric, operator, limit)


def test_metrics_are_of_one_kind_each() -> None:
    assert len({*TIMES, *SIZES, *PLAIN, *RATES, *COUNTS}) == len(METRICS) + len(RATES) + len(COUNTS)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert parse(text).text == text
    except ValueError as e:
        assert repr(text) in str(e)  # noqa: PT017
