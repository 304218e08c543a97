"""Sessions for tests of the browser side."""

from __future__ import annotations

import itertools
from typing import Any

import psutil

from broker_config.behaviour import Behaviour
from broker_config.duration import Duration
from broker_config.duration_range import DurationRange
from broker_config.job_spec import Limits
from broker_config.messages import Dispatch
from broker_config.platform import this_system
from runner.browser.executor import BrowserExecutor

_numbers = itertools.count(1)


def a_session(
    url: str,
    *,
    browser: str = "chromium",
    dwell: float = 0.0,
    scroll: bool = True,
    session_limit: float = 20.0,
    navigation_limit: float = 10.0,
    attempt: int = 1,
    behaviour: Behaviour | None = None,
    **more: Any,
) -> Dispatch:
    """A session of its own on this page; `more` are further fields of the dispatch."""
    return Dispatch(
        job="job-1",
        session=next(_numbers),
        platform=f"{this_system()}-{browser}",
        target="target",
        url=url,
        attempt=attempt,
        behaviour=behaviour or Behaviour(dwell=DurationRange(dwell, dwell), scroll=scroll),
        limits=Limits(session=Duration(session_limit), navigation=Duration(navigation_limit)),
        **more,
    )


def silent(_event: str, _text: str) -> None:
    """A `Say` that nobody hears."""


def browsers_of(executor: BrowserExecutor) -> list[psutil.Process]:
    """The main processes of an executor's browsers."""
    return [r.process for pool in executor._pools.values() for r in pool.running]


def driver_of(executor: BrowserExecutor) -> psutil.Process:
    process = executor._driver.process
    assert process is not None
    return process


def family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def running(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended."""
    still = []
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                still.append(process)
        except psutil.NoSuchProcess:
            pass
    return still
