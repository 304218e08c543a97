"""Scripts in a spec: what is refused and how, and that a scripted job has lanes of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker_config.errors import SpecError
from broker_config.job import Job
from broker_config.job_spec import JobSpec, read_spec
from broker_config.messages import Dispatch
from broker_config.script import Script, scripts_pool, takes_data, with_source
from orchestrator.core.job_run import JobRun
from orchestrator.core.plan import Plan
from orchestrator.core.window import pools_of, shown, slots_by_lane

GOOD = "async def journey(page, context): ...\n"


def spec(source: str = GOOD, **more: Any) -> JobSpec:
    script = {"source": source, "file": "pay.py"}
    return read_spec({"targets": [{"url": "http://shop.test/"}], "sessions": 3, "script": script, **more})


def refused(source: str = GOOD, **more: Any) -> str:
    with pytest.raises(SpecError) as e:
        spec(source, **more)
    return str(e.value)


@pytest.mark.parametrize(
    "head",
    [
        "async def journey(page, context)",
        "async def journey(page, context, data)",
        "async def journey(page, context, /, data=None, *, more=1)",
        "async def journey(*args)",
        "@timed\nasync def journey(page, context)",
    ],
)
def test_functions_that_can_be_called(head: str) -> None:
    assert spec(f"def timed(f): return f\n{head}: pass\n").script is not None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = 1\nasync def journey(page, context)\n", "script: line 2: expected ':'"),
        ("async def journey(page, context):\n    x = = 1\n", "script: line 2: invalid syntax"),
        ("await page.goto('/')\n" + GOOD, "script: line 1: 'await' outside function"),
        ("return 1\n" + GOOD, "script: line 1: 'return' outside function"),
        ("x = '\0'\n", "cannot contain null bytes"),
        ("(" * 300 + ")" * 300, "script: line 1: too many nested parentheses"),
        ("-" * 100_000 + "1", "script: it is no Python that can be compiled"),
        ("\ndef journey(page, context): ...", "script: line 2: write async def journey, not def"),
        (
            "x = 1\nasync def journy(page, context): ...",
            "script.function: there is no async function 'journey'",
        ),
        ("x = 1\nasync def journy(page, context): ...", "at the top of pay.py; did you mean journy?"),
        ("if True:\n    async def journey(page, context): ...", "it has none"),
        ("async def journey(page): ...", "script: line 1: journey must take page and context"),
        (
            "async def journey(page, context, data, more): ...",
            "must take page and context, and may take data",
        ),
        ("async def journey(page, context, *, more): ...", "must take page and context, and may take data"),
        ("  \n", "script.file: is read where a job is submitted by `tb`"),
    ],
)
def test_what_is_refused_names_the_line(source: str, words: str) -> None:
    assert words in refused(source)


def test_a_script_is_never_run_where_it_is_checked(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    spec(f"open({str(mark)!r}, 'w')\n@open({str(mark)!r}, 'w').write\n{GOOD}")
    assert not mark.exists()


def test_a_script_goes_in_place_of_a_journey_and_knows_no_steps_beforehand() -> None:
    assert "script: goes in place of a journey" in refused(journey={"steps": [{"goto": "/"}]})
    assert spec(thresholds=['step["pay"].p90 < 4s']).script
    assert "script: is empty" in refused("", script={})


def test_its_file_is_read_beside_the_document_and_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "journeys").mkdir()
    (tmp_path / "journeys" / "pay.py").write_text("\ufeff" + GOOD, "utf-8")
    document = {"name": "x", "script": {"file": "journeys/pay.py", "function": "journey"}}
    assert with_source(document, tmp_path)["script"] == {
        "file": "pay.py",
        "function": "journey",
        "source": GOOD,
    }
    assert with_source({"name": "x"}, tmp_path) == {"name": "x"}
    for wrong, words in (
        (
            {"file": "gone.py"},
            "^script.file: 'gone.py' cannot be read, looked for at .*gone.py: there is no such",
        ),
        ({"file": "journeys"}, "it is a folder"),
        ({"file": "a.py", "source": "x"}, "both file and source"),
    ):
        with pytest.raises(SpecError, match=words):
            with_source({"script": wrong}, tmp_path)
    (tmp_path / "latin.py").write_bytes(b"# \xe4\n")
    with pytest.raises(SpecError, match="not UTF-8"):
        with_source({"script": {"file": "latin.py"}}, tmp_path)


def test_who_gets_the_values() -> None:
    for head, yes in (("page, context", False), ("page, context, d", True), ("*a", True)):
        assert takes_data(f"async def journey({head}): ...", "journey") is yes


@pytest.mark.parametrize(("pool", "its"), [(None, "scripts"), ("lab", "lab_scripts")])
def test_a_scripted_job_has_lanes_that_no_other_runner_takes_from(pool: str | None, its: str) -> None:
    job = spec(pool=pool)
    assert scripts_pool(pool) == job.dispatch_pool == its
    assert spec(script=None, pool=pool).dispatch_pool == pool
    plan = Plan("j", job)
    dispatch: Dispatch = plan.dispatch(1)
    assert (dispatch.pool, dispatch.script) == (its, job.script)
    run = JobRun(Job(id="j", spec=job, state="queued", submitted_at=0.0), 1, plan, None)
    assert run.lay_out([(7, dispatch)], 0.0) == []
    lane = f"linux-chromium.{its}"
    assert (run.lanes, run.by_lane) == ([lane], {lane: 1})
    plain = slots_by_lane((["linux-chromium"], p, 4) for p in pools_of(pool, scripts=False))
    allowing = slots_by_lane((["linux-chromium"], p, 4) for p in pools_of(pool, scripts=True))
    assert lane not in plain
    assert allowing == {**plain, lane: 4}


def test_no_pool_of_a_users_own_can_be_such_a_lane() -> None:
    for name in ("scripts", "lab_scripts"):
        assert f"pool: '{name}' is kept for scripted jobs" in refused(pool=name)
        assert f"pool: '{name}' is kept for scripted jobs" in refused(script=None, pool=name)
    assert "pool: is too long for a scripted job" in refused(pool="x" * 57)
    assert spec(pool="x" * 56).dispatch_pool == f"{'x' * 56}_scripts"


@pytest.mark.parametrize(
    ("lane", "words"),
    [
        ("linux-chromium", "linux-chromium"),
        ("linux-chromium.lab", "linux-chromium.lab"),
        ("linux-chromium.scripts", "linux-chromium (with --allow-scripts)"),
        ("linux-chromium.lab_scripts", "linux-chromium.lab (with --allow-scripts)"),
    ],
)
def test_what_a_job_waits_for_in_words(lane: str, words: str) -> None:
    assert shown(lane) == words


def test_the_name_of_a_script() -> None:
    assert Script(source=GOOD).label == "script"
    assert Script(source=GOOD, file="a/b/pay.py").label == Script(file="a\\pay.py").label == "pay.py"
