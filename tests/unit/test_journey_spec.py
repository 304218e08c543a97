"""Journeys, data and devices in a spec: what is read, and what is said when it is wrong."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from broker_config.device import Device, as_devices
from broker_config.errors import SpecError
from broker_config.job_spec import JobSpec, read_spec
from broker_config.journey import Step

URL = "http://shop.test/"
YAML = """
targets: [{url: http://shop.test/}]
sessions: 10
journey:
  timeout: 5s
  steps:
    - goto: /cart
    - click: {role: button, name: "Add to cart"}
    - fill: {label: Email, value: "${user.email}"}
    - click: "#pay"
      name: pay
      timeout: 2s
      optional: true
    - expect: {text: "Thank you"}
    - scroll: bottom
    - dwell: 1s-3s
    - press: Enter
data: {name: user, rows: [{email: a@b.c}], mode: random}
devices:
  - Desktop Chrome
  - {device: iPhone 15, name: phone, weight: 3, network: {latency: 80}}
thresholds: ['step["pay"].p90 < 4s', "step['goto /cart'].max <= 900ms"]
"""


def doc(**fields: Any) -> dict[str, Any]:
    return {"targets": [{"url": URL}], "sessions": 10} | fields


def steps(*given: Any, **fields: Any) -> dict[str, Any]:
    return doc(journey={"steps": list(given)}, **fields)


def read(raw: dict[str, Any]) -> JobSpec:
    return read_spec(raw)


def test_a_journey_reads_well_in_yaml() -> None:
    spec = read(yaml.safe_load(YAML))
    assert spec.journey is not None
    assert [s.label for s in spec.journey.steps] == [
        "goto /cart",
        'click button "Add to cart"',
        'fill label "Email"',
        "pay",
        'expect text "Thank you"',
        "scroll bottom",
        "dwell 1s-3s",
        "press Enter",
    ]
    assert spec.journey.steps[3].deed == "click #pay"
    assert [(d.label, d.weight) for d in as_devices(spec.devices)] == [("Desktop Chrome", 1), ("phone", 3)]


def test_devices_may_have_weights() -> None:
    spec = read(doc(devices={"Pixel 7": 2, "Desktop Safari": 1}))
    assert as_devices(spec.devices) == [
        Device(device="Pixel 7", weight=2),
        Device(device="Desktop Safari", weight=1),
    ]


def test_a_long_deed_is_cut_as_a_name() -> None:
    step = Step(click="x" * 100)
    assert len(step.label) == 64
    assert step.label.endswith("…")


USER = {"name": "user", "rows": [{"email": "a", "age": 1}, {"email": "b"}]}


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (steps(), "journey.steps: [] is not allowed: expected a list of at least 1 entry"),
        (steps({}), "journey.steps[0]: has no action; use one of goto, click, fill"),
        (
            steps({"goto": "/", "click": "a"}),
            "journey.steps[0]: has 2 actions (goto, click); give each its own step",
        ),
        (
            steps({"clik": "a"}),
            "journey.steps[0].clik: there is no such field, did you mean click? Allowed: goto",
        ),
        (
            steps({"goto": "/"}, {"click": {"rol": "button"}}),
            "journey.steps[1].click.rol: there is no such field, did you mean role?",
        ),
        (steps({"click": 5}), "journey.steps[0].click: 5 is not allowed"),
        (steps({"click": {}}), "journey.steps[0].click: does not say where; use role, label, text"),
        (steps({"click": {"name": "Pay", "css": "a"}}), "journey.steps[0].click.name: goes with role only"),
        (
            steps({"click": {"role": "link", "css": "a"}}),
            "journey.steps[0].click: has role and css; give one",
        ),
        (steps({"fill": {"label": "Email"}}), "journey.steps[0].fill.value: is missing"),
        (steps({"expect": {}}), "journey.steps[0].expect: does not say where"),
        (steps({"expect": {"title": "x", "count": 1}}), "journey.steps[0].expect.count: of what? Use role"),
        (steps({"scroll": "left"}), "journey.steps[0].scroll: 'left' is not allowed; allowed: top, bottom"),
        (steps({"dwell": "soon"}), "journey.steps[0].dwell: 'soon' is not a duration"),
        (steps({"pause": 1, "timeout": 0}), "journey.steps[0].timeout: a time-out of 0"),
        (
            steps({"goto": "http://other.test/"}),
            "journey.steps[0].goto: http://other.test is not an origin of the targets or of origins; allowed: http://shop.test",
        ),
        (steps({"goto": "ftp://shop.test/"}), "journey.steps[0].goto: 'ftp://shop.test/' is not an absolute"),
        (
            steps({"fill": {"css": "a", "value": "${user.emial}"}}, data=USER),
            "journey.steps[0].fill.value: there is no variable ${user.emial}; did you mean ${user.email}?",
        ),
        (
            steps({"goto": "/${row}"}),
            "journey.steps[0].goto: there is no variable ${row}; there are session, attempt, job",
        ),
        (
            steps({"goto": "/${user.age}"}, data=USER),
            "data.rows[1]: has no 'age', which journey.steps[0].goto uses",
        ),
        (doc(data={"rows": []}), "data.rows: is empty"),
        (doc(data={"file": "a.csv"}), "data.file: is read where a job is submitted by `tb`"),
        (doc(data={"rows": [{"a": []}]}), "data.rows[0].a: [] is not allowed"),
        (
            doc(data={"rows": [{"a": 1}], "mode": "some"}),
            "data.mode: 'some' is not allowed; allowed: session",
        ),
        (
            doc(data={"rows": [{"a": 1}] * 9, "mode": "unique"}),
            "data.rows: 9 rows are too few for 10 sessions in mode unique",
        ),
        (
            doc(data={"rows": [{"a": "x" * 9_000}] * 110}),
            "the job is 991 KB (991 KB of them data rows); at most 900 KB can be stored",
        ),
        (doc(devices=["iPhone 51"]), "devices[0]: there is no device 'iPhone 51'; did you mean iPhone "),
        (doc(devices={"Pixl 7": 1}), "devices.Pixl 7: there is no device 'Pixl 7'; did you mean Pixel 7"),
        (doc(devices={"Pixel 7": 0}), "devices.Pixel 7: weight 0.0 is not allowed"),
        (
            doc(devices=["Pixel 7", {"device": "Pixel 7", "scale": 2}]),
            "devices[1]: 'Pixel 7' is the name of devices[0] too; give it a name",
        ),
        (
            doc(devices=[{"timezone": "Europe/Viena"}]),
            "devices[0].timezone: there is no time zone 'Europe/Viena'; did you mean Europe/Vienna?",
        ),
        (
            doc(devices=[{"viewport": {"width": 0, "height": 1}}]),
            "devices[0].viewport.width: 0 is not allowed",
        ),
        (
            doc(devices=[{"color_scheme": "dark"}]),
            "devices[0].color_scheme: there is no such field, did you mean colour_scheme?",
        ),
        (
            steps({"click": "a", "name": "pay"}, thresholds=["step['pey'].p90 < 1s"]),
            "thresholds[0]: the journey has no step 'pey'; did you mean 'pay'?",
        ),
        (
            doc(thresholds=["step['pay'].p90 < 1s"]),
            "thresholds[0]: the job has no journey, so no step 'pay'",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(raw: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError, match=re.escape(problem)) as e:
        read(raw)
    assert len(e.value.problems) == 1


def test_a_plain_dollar_is_written_twice() -> None:
    read(steps({"fill": {"css": "a", "value": "$${not.a.variable} costs $5"}}))
