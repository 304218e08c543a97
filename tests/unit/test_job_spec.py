from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker_config import codec, document
from broker_config.behaviour import Behaviour
from broker_config.duration import Duration
from broker_config.duration_range import DurationRange
from broker_config.errors import Problem, SpecError
from broker_config.job_spec import (
    JobSpec,
    Limits,
    Target,
    json_schema,
    read_spec,
)
from broker_config.load import SharedSessions
from broker_config.platform import PLATFORMS

URL = "http://shop.test/"


def doc(**fields: Any) -> dict[str, Any]:
    """A document that is right, but for `fields`."""
    return {"targets": [{"url": URL}], "sessions": 10} | fields


def problems(raw: Any) -> list[Problem]:
    with pytest.raises(SpecError) as e:
        read_spec(raw)
    return list(e.value.problems)


def test_the_smallest_document_is_enough() -> None:
    spec = read_spec(doc())
    assert spec.targets == [Target(url=URL)]
    assert spec.total_sessions == 10
    assert spec.platform_weights == {"linux-chromium": 1.0}
    assert spec.load == SharedSessions(vus=1)


def test_a_full_document_is_read() -> None:
    spec = read_spec(
        doc(
            targets=[{"url": URL, "name": "home", "sessions": 4}, {"url": URL + "cart", "share": 2}],
            load={"executor": "shared-sessions", "vus": 5, "max_duration": "10m"},
            platforms={"linux-chromium": 3, "windows-msedge": 1},
            behaviour={"dwell": "1s-3s", "scroll": False},
            limits={"session": "2m", "navigation": 15},
            tags={"team": "web"},
            pool="eu",
            seed=7,
        )
    )
    assert spec.load == SharedSessions(vus=5, max_duration=Duration(600))
    assert spec.behaviour == Behaviour(dwell=DurationRange(1, 3), scroll=False)
    assert spec.limits == Limits(session=Duration(120), navigation=Duration(15))
    assert spec.platform_weights == {"linux-chromium": 3.0, "windows-msedge": 1.0}


@pytest.mark.parametrize(
    ("raw", "where", "what"),
    [
        ([], "", "the document is not an object with fields but []"),
        (None, "", "the document is not an object with fields but nothing"),
        ({}, "targets", "is missing"),
        ({"targets": [{"url": URL}]}, "sessions", "is missing; give it, or give targets[0] its own number"),
        (doc(targets=[]), "targets", "[] is not allowed: expected a list of at least 1 entry"),
        (doc(targets="x"), "targets", "'x' is not allowed: expected a list, got text"),
        (doc(targets=[{}]), "targets[0].url", "is missing"),
        (
            doc(targets=[{"url": URL}, {"url": 5}]),
            "targets[1].url",
            "5 is not allowed: expected text, got a whole number",
        ),
        (doc(targets=[{"url": "ftp://x/"}]), "targets[0].url", "'ftp://x/' is not an absolute http://"),
        (doc(targets=[{"url": "shop.test"}]), "targets[0].url", "'shop.test' is not an absolute http://"),
        (doc(targets=[{"url": "http://a b/"}]), "targets[0].url", "holds a space"),
        (
            doc(targets=[{"url": "http://u:p@a/"}]),
            "targets[0].url",
            "a user name or password in a URL is not",
        ),
        (doc(targets=[{"url": "http://a:99999/"}]), "targets[0].url", "is not a URL"),
        (doc(targets=[{"url": URL}] * 2), "targets[1].name", f"{URL!r} is the name of targets[0] too"),
        (doc(targets=[{"url": URL, "sessions": -1}]), "targets[0].sessions", "-1 is not allowed"),
        (
            doc(targets=[{"url": URL, "share": 0}]),
            "targets[0].share",
            "0 is not allowed: expected a number above 0",
        ),
        (doc(sessions=0), "sessions", "0 is not allowed: expected a whole number of at least 1"),
        (
            doc(sessions=1_000_001),
            "sessions",
            "1000001 is not allowed: expected a whole number of at most 1000000",
        ),
        (
            doc(sessions="12"),
            "sessions",
            "'12' is not allowed: expected a whole number or nothing, got text; write 12 without quotes",
        ),
        (
            doc(sessions="a few"),
            "sessions",
            "'a few' is not allowed: expected a whole number or nothing, got text",
        ),
        (doc(sessions=2.5), "sessions", "expected a whole number or nothing, got a number with a fraction"),
        (doc(sessions=True), "sessions", "true is not allowed: expected a whole number or nothing"),
        (doc(sessions=3, targets=[{"url": URL, "sessions": 4}]), "sessions", "3 is less than the 4"),
        (doc(sessions=5, targets=[{"url": URL, "sessions": 4}]), "sessions", "5 differs from the 4 of all"),
        (doc(load={"executor": "foo"}), "load.executor", "'foo' is not allowed; allowed: shared-sessions"),
        (doc(load={"vus": 0}), "load.vus", "0 is not allowed: expected a whole number of at least 1"),
        (doc(load=5), "load", "5 is not allowed: expected an object with fields, got a whole number"),
        (
            doc(load={"vuss": 5}),
            "load.vuss",
            "there is no such field, did you mean vus? Allowed: executor, start_delay",
        ),
        (doc(platforms=[]), "platforms", "is empty; allowed are linux-chromium"),
        (doc(platforms=["linux-opera"]), "platforms", "'linux-opera' is not a platform; use <os>-<browser>"),
        (doc(platforms=["linux-chromium"] * 2), "platforms", "a platform stands there twice"),
        (doc(platforms={"linux-chromium": "x"}), "platforms.linux-chromium", "'x' is not allowed: expected"),
        (doc(platforms={"linux-chromium": 0}), "platforms.linux-chromium", "weight 0.0 is not allowed"),
        (doc(behaviour={"dwell": "soon"}), "behaviour.dwell", "'soon' is not a duration such as 500ms"),
        (doc(behaviour={"dwell": True}), "behaviour.dwell", "true is not a duration such as 500ms"),
        (doc(behaviour={"dwell": "3s-1s"}), "behaviour.dwell", "'3s-1s' is not allowed: min is above max"),
        (doc(behaviour={"dwell": "3m"}), "behaviour.dwell", "does not fit into limits.session (2m)"),
        (doc(limits={"session": -1}), "limits.session", "-1 is not a duration"),
        (doc(limits={"navigation": 0}), "limits", "a limit of 0 is not allowed"),
        (doc(limits={"session": "2d"}), "limits.session", "is too long; at most 24h"),
        (doc(thresholds=["fast"]), "thresholds[0]", "'fast'"),
        (doc(priority=10), "priority", "10 is not allowed: expected a whole number of at most 9"),
        (doc(name=""), "name", "'' is not allowed: expected text of at least 1 character"),
        (doc(seed=2**53), "seed", "is not allowed"),
        (doc(pool="a.b"), "pool", "'a.b' is not allowed; use 1 to 64 characters"),
        (doc(tags={"a": 5}), "tags.a", "5 is not allowed: expected text, got a whole number"),
        (doc(tags={5: "a"}), "tags", "the name of a field in it is not allowed: expected text"),
        (doc(tags={str(i): "" for i in range(33)}), "tags", "at most 32 tags"),
        (doc(sesions=3), "sesions", "there is no such field, did you mean sessions? Allowed: targets, "),
        (doc(xyzzy=3), "xyzzy", "there is no such field; allowed: targets, targets_file, name"),
        (
            doc(targets=[{"url": URL, "shares": 1}]),
            "targets[0].shares",
            "did you mean share? Allowed: url, name",
        ),
    ],
)
def test_a_wrong_document_names_the_place_and_what_is_allowed(raw: Any, where: str, what: str) -> None:
    found = problems(raw)
    assert [p.where for p in found] == [where]
    assert what in found[0].what


def test_every_place_is_named_at_once() -> None:
    raw = doc(targets=[{"url": "x"}, {"url": "ftp://y"}], platforms=["os2-lynx"], sesions=1)
    del raw["sesions"]
    assert [p.where for p in problems(raw)] == ["targets[0].url", "targets[1].url", "platforms"]
    assert [p.where for p in problems({"target": [], "sesions": 1})] == ["target", "sesions", "targets"]


def test_the_source_stands_in_front() -> None:
    with pytest.raises(SpecError, match=r"^job\.yaml: sessions: 0 is not allowed"):
        read_spec(doc(sessions=0), "job.yaml")


def test_a_bottomless_document_is_refused_in_words() -> None:
    raw: Any = []
    for _ in range(100_000):
        raw = [raw]
    assert problems(doc(tags={"a": raw}))[0].where == "tags.a"


class A(msgspec.Struct, tag="a", tag_field="kind", kw_only=True):
    mode: Literal["slow", "fast"] = "slow"


class B(msgspec.Struct, tag="b", tag_field="kind"):
    n: int = 0


class Doc(msgspec.Struct):
    one: A | B | None = None
    many: list[A | B] = []
    level: Literal[1, 2] | None = None
    named: dict[str, Literal["x", "y"]] = {}


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ({"one": {"kind": "c"}}, "one.kind: 'c' is not allowed; allowed: a, b"),
        ({"one": {}}, "one.kind: is missing; allowed: a, b"),
        ({"one": {"kind": "a", "mode": "warp"}}, "one.mode: 'warp' is not allowed; allowed: slow, fast"),
        (
            {"one": {"kind": "b", "mode": "slow"}},
            "one.mode: belongs to a, not to b; change kind, or leave this out",
        ),
        ({"one": {"kind": "b", "m": "slow"}}, "one.m: there is no such field; allowed: kind, n"),
        ({"many": [{"kind": "a"}, {"kind": "c"}]}, "many[1].kind: 'c' is not allowed; allowed: a, b"),
        ({"level": 3}, "level: 3 is not allowed; allowed: 1, 2"),
        ({"named": {"k": "x", "l": "z"}}, "named.l: 'z' is not allowed; allowed: x, y"),
    ],
)
def test_a_choice_names_what_can_be_chosen(raw: Any, problem: str) -> None:
    with pytest.raises(SpecError) as e:
        document.read(raw, Doc)
    assert str(e.value) == problem


@st.composite
def specs(draw: st.DrawFn) -> JobSpec:
    names = draw(st.lists(st.text("abcdef", min_size=1, max_size=8), min_size=1, max_size=4, unique=True))
    counts = st.none() | st.integers(0, 100)
    targets = [
        Target(
            url=f"http://{name}.test/",
            name=draw(st.none() | st.just(name)),
            sessions=draw(counts),
            share=share,
        )
        for name, share in zip(
            names, draw(st.lists(st.floats(0.01, 1e6), min_size=4, max_size=4)), strict=False
        )
    ]
    fixed = sum(t.sessions or 0 for t in targets)
    open_ended = any(t.sessions is None for t in targets)
    sessions = fixed + draw(st.integers(1, 1000)) if open_ended or not fixed else None
    if sessions is not None and not open_ended:
        targets[0] = msgspec.structs.replace(targets[0], sessions=None)
    low, high = sorted(draw(st.tuples(st.floats(0, 50), st.floats(0, 50))))
    chosen = draw(st.lists(st.sampled_from(PLATFORMS), min_size=1, max_size=4, unique=True))
    return JobSpec(
        targets=targets,
        name=draw(st.text(min_size=1, max_size=64)),
        sessions=sessions,
        load=SharedSessions(
            vus=draw(st.integers(1, 10_000)),
            max_duration=draw(st.none() | st.floats(0, 1e6).map(Duration)),
        ),
        platforms=draw(st.just(chosen) | st.fixed_dictionaries({p: st.floats(0.01, 1e6) for p in chosen})),
        behaviour=Behaviour(dwell=DurationRange(low, high), scroll=draw(st.booleans())),
        limits=Limits(
            session=Duration(draw(st.floats(51, 86_400))), navigation=Duration(draw(st.floats(0.1, 60)))
        ),
        priority=draw(st.integers(0, 9)),
        retries=draw(st.integers(0, 10)),
        seed=draw(st.none() | st.integers(0, 2**53 - 1)),
        pool=draw(st.none() | st.text("abz09_-", min_size=1, max_size=64)),
        tags=draw(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3)),
    )


@given(specs())
def test_a_spec_survives_the_wire_and_reads_as_a_document(spec: JobSpec) -> None:
    assert codec.decode(codec.encode(spec), JobSpec) == spec
    assert read_spec(codec.to_builtins(spec)) == spec


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.sampled_from([*JobSpec.__struct_fields__, "xyz"]), junk)
def test_whatever_stands_in_a_field_ends_in_a_spec_or_in_words(field: str, value: Any) -> None:
    try:
        read_spec(doc(**{field: value}))
    except SpecError as e:
        found = e.problems
    else:
        return
    assert found
    assert all(p.what for p in found)


def test_the_schema_names_every_field_and_its_bounds() -> None:
    schema = json_schema()
    properties = schema["$defs"]["JobSpec"]["properties"]
    assert properties.keys() == set(JobSpec.__struct_fields__)
    assert {"type": "integer", "minimum": 1, "maximum": 1_000_000} in properties["sessions"]["anyOf"]
    assert schema["$defs"]["JobSpec"]["required"] == []
    assert schema["$defs"]["JobSpec"]["anyOf"] == [{"required": ["targets"]}, {"required": ["targets_file"]}]


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"name": "\ud800"}, "name"),
        ({"tags": {"\udfff": "x"}}, "tags"),
        ({"\ud800": 1}, ""),
        ({"load": {"max_duration": 10**400}}, "load.max_duration"),
        ({"load": {"max_duration": 10**4999}}, "load.max_duration"),
    ],
)
def test_what_no_number_and_no_text_can_hold_is_refused_in_words(fields: dict[str, Any], where: str) -> None:
    (found,) = problems(doc(**fields))
    assert found.where == where
    assert found.what.isprintable()
