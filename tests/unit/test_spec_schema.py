"""The schema of job specs carries the words about each field, and docs/job-spec.md is made from it."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from broker_config import codec
from broker_config.artifacts import KINDS
from broker_config.behaviour import PRESETS
from broker_config.duration import Duration
from broker_config.job_spec import json_schema
from broker_config.journey import ACTIONS
from broker_config.threshold import COUNTS, METRICS, RATES
from cli.job_reference import _TITLES, page

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json_schema()
STRUCTS: dict[str, Any] = SCHEMA["$defs"]
PLAIN = [codec.schema_hook(Duration)["description"], None]
FIELDS = [(s, f) for s, struct in STRUCTS.items() for f in struct["properties"]]


def examples() -> dict[str, str]:
    return {path.name: path.read_text() for path in (DOCS / "examples").iterdir() if path.is_file()}


@pytest.mark.parametrize(("struct", "field"), FIELDS)
def test_every_field_is_explained(struct: str, field: str) -> None:
    words = STRUCTS[struct]["properties"][field].get("description")
    assert words not in PLAIN, f"{struct}.{field} needs a comment (#:) above it"


def test_every_struct_is_explained_and_takes_no_other_fields() -> None:
    for name, struct in STRUCTS.items():
        assert struct["description"], name
        assert "\n    " not in struct["description"], name
        assert struct["additionalProperties"] is False, name


def test_defaults_that_a_function_makes_are_told() -> None:
    properties = STRUCTS["Limits"]["properties"]
    assert properties["session"]["default"] == "2m"
    assert STRUCTS["JobSpec"]["properties"]["platforms"]["default"] == ["linux-chromium"]
    assert STRUCTS["JobSpec"]["properties"]["load"]["default"] == {"executor": "shared-sessions"}
    assert STRUCTS["JobSpec"]["properties"]["limits"]["default"] == {}


def test_a_field_says_what_it_is_and_how_it_is_written() -> None:
    words = STRUCTS["SharedSessions"]["properties"]["pacing"]["description"]
    assert words.startswith("Least time from the start of a virtual user's session")
    assert words.endswith(codec.schema_hook(Duration)["description"])


def test_the_page_is_up_to_date() -> None:
    """If this fails: `tb jobs schema --markdown --examples docs/examples > docs/job-spec.md`."""
    assert (DOCS / "job-spec.md").read_text() == page(SCHEMA, examples())


def test_the_page_has_it_all() -> None:
    text = page(SCHEMA, examples())
    assert STRUCTS.keys() == _TITLES.keys()
    for field in {field for _, field in FIELDS}:
        assert f"| `{field}` |" in text, field
    for word in (*ACTIONS, *PRESETS, *KINDS, *METRICS, *RATES, *COUNTS):
        assert f"`{word}`" in text, word
    for load in re.findall(r"load: ([a-z-]+)", " ".join(_TITLES.values())):
        assert f"## load: {load}\n" in text
        assert f"`{load}`" in text
    for name, content in examples().items():
        body = content.rpartition("\n\n# ")[0] if name.endswith(".md") else content
        assert re.sub(r"\A(#.*\n)+\n", "", body).strip() in text, name


def test_links_within_the_page_lead_somewhere() -> None:
    text = page(SCHEMA, {})
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9_ -]", "", h.lower()).replace(" ", "-") for h in headings}
    assert len(anchors) == len(headings)
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_every_table_row_has_as_many_cells_as_its_head() -> None:
    lines = page(SCHEMA, {}).splitlines()
    for above, line in pairwise(lines):
        if line.startswith("|") and above.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", above)), line


def test_examples_begin_with_what_they_show_and_how_to_run_them() -> None:
    for name, text in examples().items():
        if name.endswith(".yaml"):
            remark = text.partition("\n\n")[0].splitlines()
            assert all(line.startswith("#") for line in remark), name
            assert remark[-1] == f"# tb jobs submit docs/examples/{name} --watch"
            assert len(remark) >= 4, name
