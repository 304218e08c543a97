"""`${secret:NAME}`: where it may stand, and what is said where it may not."""

from __future__ import annotations

import random
import time
from typing import Any

import msgspec
import pytest

from broker_config import codec, secret_ref
from broker_config.artifacts import Artifacts
from broker_config.errors import SpecError
from broker_config.job_spec import JobSpec, read_spec
from broker_config.messages import Dispatch
from broker_config.secret_ref import filled_in, first_places, of_cell
from orchestrator.core.plan import Plan
from runner.core.artifact_choice import choose
from runner.core.journey_plan import plan_journey, values_of
from runner.core.masking import SecretMask, SessionMask


def spec(**more: Any) -> JobSpec:
    return read_spec({"targets": [{"url": "http://127.0.0.1:1/"}], "sessions": 1, **more})


def steps(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"steps": list(steps)}


def named(spec: JobSpec) -> dict[str, str]:
    return first_places(spec.journey, spec.data.rows if spec.data else (), spec.script)


def dispatch(spec: JobSpec, **values: str) -> Dispatch:
    d = Plan("job1", spec).dispatch(1)
    return msgspec.structs.replace(d, variables=filled_in(d.variables, values))


def test_places_are_found_wherever_variables_may_stand() -> None:
    found = spec(
        journey=steps(
            {"goto": "/in?key=${secret:KEY}"},
            {"fill": {"label": "Password", "value": "a${ secret:PW }b"}},
            {"select": {"label": "Which", "option": ["${secret:OPTION}", "x"]}},
            {"expect": {"role": "heading", "name": "${secret:PW}"}},
            {"fill": {"label": "Other", "value": "$${secret:NOT}"}},
        ),
        data={"rows": [{"user": "jane"}, {"user": "${secret:JANE}", "note": "x ${secret:NOT}"}]},
        sessions=2,
    )
    assert named(found) == {
        "KEY": "journey.steps[0].goto",
        "PW": "journey.steps[1].fill.value",
        "OPTION": "journey.steps[2].select.option[0]",
        "JANE": "data.rows[1].user",
    }
    scripted = spec(
        script={"source": "async def journey(page, context, data): pass", "secrets": ["PW", "KEY"]}
    )
    assert named(scripted) == {"PW": "script.secrets[0]", "KEY": "script.secrets[1]"}
    assert named(spec()) == {}


@pytest.mark.parametrize(
    ("cell", "name"),
    [("${secret:A}", "A"), ("${ secret:A }", "A"), ("$${secret:A}", None), ("x${secret:A}", None), (1, None)],
)
def test_a_cell_is_a_secret_as_a_whole_or_not_at_all(cell: Any, name: str | None) -> None:
    assert of_cell(cell) == name


@pytest.mark.parametrize(
    ("more", "where", "what"),
    [
        ({"journey": steps({"goto": "/${secret:a.b}"})}, "journey.steps[0].goto", "no name of a secret"),
        ({"journey": steps({"goto": "/${secret:}"})}, "journey.steps[0].goto", "no name of a secret"),
        ({"data": {"rows": [{"x": "${secret:a b}"}]}}, "data.rows[0].x", "no name of a secret"),
        (
            {"journey": steps({"screenshot": "at ${secret:A}"})},
            "journey.steps[0].screenshot",
            "does not go into the name",
        ),
        (
            {"journey": steps({"goto": "/${secret:A}"}), "artifacts": {"keep": ["har"], "mask": False}},
            "artifacts.mask",
            "does not go with secrets",
        ),
        (
            {"journey": steps(*({"goto": f"/${{secret:S{n}}}"} for n in range(51)))},
            "",
            "at most 50",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(more: dict[str, Any], where: str, what: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec(**more)
    (problem,) = caught.value.problems
    assert problem.where == where
    assert what in problem.what


def test_the_plan_and_what_is_dispatched_hold_names_alone() -> None:
    found = spec(
        journey=steps({"fill": {"label": "Password", "value": "${secret:PW}"}}),
        data={"rows": [{"token": "${secret:TOKEN}"}], "name": "user"},
    )
    sent = Plan("job1", found).dispatch(1)
    assert sent.variables == {"user.token": "${secret:TOKEN}"}
    assert b"${secret:PW}" in codec.encode(sent)


def test_the_runner_fills_them_in() -> None:
    found = spec(
        journey=steps(
            {"goto": "/?t=${user.token}", "name": "go ${secret:PW}"},
            {"fill": {"label": "Password", "value": "<${secret:PW}>"}},
        ),
        data={"rows": [{"token": "${secret:TOKEN}"}], "name": "user"},
    )
    d = dispatch(found, PW="canary-pw", TOKEN="canary-token")
    first, second = plan_journey(d)
    assert first.argument == "/?t=canary-token"
    assert first.name == "go ${secret:PW}", "names stand in reports"
    assert second.argument.value == "<canary-pw>"
    assert values_of(d)["secret:PW"] == "canary-pw"
    with pytest.raises(KeyError, match="TOKEN"):
        filled_in({"user.token": "${secret:TOKEN}"}, {"PW": "x"})


def test_they_are_masked_in_what_a_session_says() -> None:
    found = spec(journey=steps({"fill": {"label": "Password", "value": "${secret:PW}"}}))
    d = dispatch(found, PW="can/ary pw&1")
    for mask in (SecretMask(d), SessionMask(d)):
        for said in ("can/ary pw&1", "can%2Fary%20pw%261", "can\\/ary pw\\u00261", "Y2FuL2FyeSBwdyYx"):
            assert "***" in mask(f"it was <{said}> there")
            assert "ary" not in mask(f"it was <{said}> there")
    assert SecretMask(Plan("job1", found).dispatch(1))("${secret:PW}") == "${secret:PW}"


def test_what_a_session_with_secrets_records_is_masked_in_any_case() -> None:
    d = dispatch(spec(journey=steps({"goto": "/${secret:PW}"})), PW="canary")
    wanted = msgspec.structs.replace(d, artifacts=Artifacts(keep=["har"], mask=False))
    assert choose(wanted).mask
    assert not choose(msgspec.structs.replace(wanted, variables={})).mask


@pytest.mark.parametrize("length", [4, 3_999, 4_001, 65_536])
def test_long_secrets_are_masked_too(length: int) -> None:
    secret = "".join(random.Random(7).choices("abcdefghijklmnop/+= 0123456789\n", k=length))
    d = dispatch(spec(journey=steps({"goto": "/${secret:PW}"})), PW=secret)
    said = SecretMask(d)(f"before {secret} after")
    assert said == "before *** after"
    if length > 4_000:
        beginning = SecretMask(d)(f"before {secret[:600]} after")
        assert beginning == "before " + 6 * "***" + " after"


def test_a_long_secret_takes_no_time() -> None:
    d = dispatch(spec(journey=steps({"goto": "/${secret:PW}"})), PW="x1" * (secret_ref.MAX_BYTES // 2))
    began = time.monotonic()
    SecretMask(d)("nothing " * 100)
    assert time.monotonic() - began < 1.0
