"""docs/reports.md and docs/thresholds.md say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from broker_config.job_spec import read_spec
from broker_config.threshold import COUNTS, METRICS, RATES
from orchestrator.core.report.lines import COLUMNS

DOCS = Path(__file__).parents[2] / "docs"


def test_the_columns_of_the_csv() -> None:
    text = (DOCS / "reports.md").read_text()
    (listed,) = re.findall(r"`(session, status[^`]*)`", text)
    assert tuple(re.split(r",\s+", listed)) == COLUMNS


def test_every_metric_is_named_and_the_example_is_a_spec() -> None:
    text = (DOCS / "thresholds.md").read_text()
    for name in (*METRICS, *RATES, *COUNTS):
        assert f"`{name}`" in text, name
    (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    pay = {"steps": [{"click": "#pay", "name": "pay"}]}
    targets = [{"url": "http://127.0.0.1:1/", "name": "home"}]
    spec = read_spec(yaml.safe_load(example) | {"targets": targets, "sessions": 1, "journey": pay})
    assert [r.abort_on_fail for r in spec.rules] == [False] * 4 + [True]
