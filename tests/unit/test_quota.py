"""Quotas of a project against a job."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config.job_spec import read_spec
from broker_config.people import Quotas
from orchestrator.core.quota import problems

SPEC: dict[str, Any] = {
    "targets": [{"url": "http://127.0.0.1:1/"}, {"url": "http://127.0.0.1:2/"}],
    "sessions": 10,
    "load": {"vus": 3},
}
RAMP = {"executor": "ramping-vus", "start_vus": 1, "stages": [{"duration": "1s", "target": 4}]}


def places(quotas: Quotas, running: int = 0, **more: Any) -> list[str]:
    return [p.where for p in problems(read_spec(SPEC | more), quotas, running)]


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        (Quotas(), []),
        (Quotas(vus=3, sessions=10, targets=2, jobs=1), []),
        (Quotas(vus=2), ["load"]),
        (Quotas(sessions=9), ["sessions"]),
        (Quotas(targets=1), ["targets"]),
        (Quotas(jobs=0), ["project"]),
        (Quotas(egress=False, scripts=False), []),
        (Quotas(vus=0, sessions=0, targets=0, jobs=0), ["load", "sessions", "targets", "project"]),
    ],
)
def test_each_quota(quotas: Quotas, expected: list[str]) -> None:
    assert places(quotas) == expected


def test_what_a_load_reaches_at_its_peak_counts() -> None:
    assert places(Quotas(vus=3), load=RAMP) == ["load"]
    assert places(Quotas(vus=4), load=RAMP) == []
    rate = {"executor": "constant-arrival-rate", "rate": 1, "duration": "60s", "max_vus": 7}
    assert places(Quotas(vus=6, sessions=60), load=rate, sessions=None) == ["load"]
    assert places(Quotas(vus=7, sessions=59), load=rate, sessions=None) == ["sessions"]


def test_proxies_and_scripts() -> None:
    assert places(Quotas(egress=False), egress={"pool": "p"}) == ["egress"]
    assert places(Quotas(egress=False), egress={"proxies": ["127.0.0.1:1"]}) == ["egress"]
    script = {"source": "async def journey(page, session):\n    pass\n"}
    assert places(Quotas(scripts=False), script=script) == ["script"]


@given(st.integers(0, 10), st.integers(0, 10))
def test_jobs(running: int, bound: int) -> None:
    assert bool(places(Quotas(jobs=bound), running)) is (running >= bound)
