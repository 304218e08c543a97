"""The reference of job specs as a page of Markdown, from the JSON Schema and the tables of the contract."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from broker_config import codec, threshold
from broker_config.behaviour import PRESETS
from broker_config.duration import Duration
from broker_config.duration_range import DurationRange
from broker_config.journey import ACTIONS, BUILT_IN
from broker_config.platform import BROWSERS, SYSTEMS
from broker_config.spec_problems import MAX_SPEC_BYTES

_DURATION = codec.schema_hook(Duration)
_RANGE = codec.schema_hook(DurationRange)
#: Headings of the sections; a number of `#` before them is their level.
_TITLES = {
    "JobSpec": "## The job",
    "Target": "## targets",
    "SharedSessions": "## load: shared-sessions",
    "ConstantVus": "## load: constant-vus",
    "RampingVus": "## load: ramping-vus",
    "VuStage": "### A stage of virtual users",
    "ConstantArrivalRate": "## load: constant-arrival-rate",
    "RampingArrivalRate": "## load: ramping-arrival-rate",
    "RateStage": "### A stage of rates",
    "Behaviour": "## behaviour",
    "Journey": "## journey",
    "Step": "## A step of a journey",
    "Locator": "## A place on the page",
    "Fill": "### fill",
    "Select": "### select",
    "Check": "### check",
    "Press": "### press",
    "WaitFor": "### wait_for",
    "Expect": "### expect",
    "Script": "## script",
    "Data": "## data",
    "Device": "## devices",
    "Viewport": "### viewport",
    "Geolocation": "### geolocation",
    "Network": "### network",
    "Limits": "## limits",
    "Egress": "## egress",
    "Artifacts": "## artifacts",
    "ThresholdRule": "### A threshold in its long form",
}


def page(schema: Mapping[str, Any], examples: Mapping[str, str]) -> str:
    """`examples` holds the texts of specs by the names of their files, and of the files that they read, which
    have the same number in front."""
    structs: dict[str, Any] = schema["$defs"]
    parts = {name: _section(name, struct, structs) for name, struct in structs.items()}
    parts["JobSpec"] += _platforms()
    parts["Behaviour"] += _presets()
    # Its long form is told after the expressions.
    parts["ThresholdRule"] = _thresholds() + parts["ThresholdRule"]
    text = "\n".join([_INTRO, *parts.values()])
    if examples:
        specs = sorted(name for name in examples if name.endswith(".yaml"))
        text += "\n" + _EXAMPLES + "".join(_example(name, examples) for name in specs)
    return text


_INTRO = f"""\
# Job specs

<!-- Made by: tb jobs schema --markdown --examples docs/examples > docs/job-spec.md -->

A job spec is a YAML, JSON or TOML document. Only `targets` (or `targets_file`) must be there, and `sessions`
where nothing else says how many there are; every other field has a default. A field that is not in this page
is refused, with its place and what is allowed. A spec may have {MAX_SPEC_BYTES // 1000} KB,
its data rows included.

`tb jobs plan job.yaml` shows what would run, `tb jobs submit job.yaml --watch` runs it. Editors complete and
check specs by the schema, which `tb jobs schema` prints and the server has at `/api/v1/job-schema`; with the
YAML language server, by a first line such as
`# yaml-language-server: $schema=http://127.0.0.1:8700/api/v1/job-schema`.

A **duration** is text such as `500ms`, `2s`, `1m30s` or `2h`, or a number of seconds. A **range** is a
duration, two with a dash between them (`1s-3s`), or an object with `min` and `max`; a time is drawn from it
evenly. [journeys.md](journeys.md) says more about what sessions do.
"""

_EXAMPLES = """\
## Examples

Each of these runs against the demo shop on this machine, and stands in `docs/examples`:

```sh
tb up --allow-scripts          # in a first terminal
tb demo-shop --port 8080       # in a second one
tb jobs submit docs/examples/01-smoke-check.yaml --watch
```
"""


def _section(name: str, struct: Mapping[str, Any], structs: Mapping[str, Any]) -> str:
    place = structs["Locator"]["properties"]
    is_place = name != "Locator" and place.keys() <= struct["properties"].keys()
    fields = {f: a for f, a in struct["properties"].items() if not (is_place and f in place)}
    out = [_TITLES.get(name, f"### {name}"), "", _tidy(struct["description"]), ""]
    if is_place:
        out += ["The fields of [a place on the page](#a-place-on-the-page), and:", ""]
    out += ["| field | type | default | meaning |", "|---|---|---|---|"]
    out += [_row(f, about, struct) for f, about in fields.items()]
    if name == "Step":
        given = ", ".join(f"`${{{v}}}`" for v in BUILT_IN)
        out += ["", f"The {len(ACTIONS)} actions are {_codes(ACTIONS)}.", ""]
        out += [f"`${{…}}` in texts stands for a value of the session's row of data, or for {given}."]
    return "\n".join(out) + "\n"


def _row(name: str, about: Mapping[str, Any], struct: Mapping[str, Any]) -> str:
    cells = [f"`{name}`", _type(about), _default(name, about, struct), _tidy(_meaning(about))]
    if name == "executor":
        cells[2:] = ["required" if name in struct["required"] else "this one", "Which load this is."]
    return "| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |"


def _meaning(about: Mapping[str, Any]) -> str:
    words = str(about.get("description", ""))
    for known in (_DURATION, _RANGE):
        words = words.removesuffix(known["description"])
    return words.strip()


def _default(name: str, about: Mapping[str, Any], struct: Mapping[str, Any]) -> str:
    if name in struct["required"]:
        return "required"
    others = [o["required"][0] for o in struct.get("anyOf", ())]
    if name in others:
        return "this or " + _codes([o for o in others if o != name])
    value = about.get("default")
    if value in (None, [], {}, ""):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(f"`{v}`" for v in value)
    if isinstance(value, dict):
        return ", ".join(f"`{k}: {v}`" for k, v in value.items())
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _type(about: Mapping[str, Any]) -> str:
    """In words, with bounds."""
    for words, known in (("duration", _DURATION), ("duration or range", _RANGE)):
        if about.get("anyOf") == known["anyOf"]:
            return words
    if "anyOf" in about:
        options = [_type(o) for o in about["anyOf"] if o != {"type": "null"}]
        return " or ".join(dict.fromkeys(options))
    if "$ref" in about:
        name = about["$ref"].rpartition("/")[2]
        title = _TITLES.get(name, name).lstrip("# ")
        return f"[{title.removeprefix('load: ')}](#{_anchor(title)})"
    if "enum" in about:
        return ", ".join(f"`{v}`" for v in about["enum"])
    match about.get("type"):
        case "array":
            return f"list{_bounds(about)} of {_type(about['items'])}"
        case "object":
            return f"map from names to {_type(about['additionalProperties'])}"
        case "string":
            return f"text{_bounds(about)}"
        case "integer":
            return f"whole number{_bounds(about)}"
        case "number":
            return f"number{_bounds(about)}"
        case "boolean":
            return "yes or no"
        case kind:
            return str(kind)


def _bounds(about: Mapping[str, Any]) -> str:
    """In brackets; empty where there are none."""
    low, high = about.get("minimum"), about.get("maximum")
    said = [f"{_number(low)} to {_number(high)}"] if low is not None and high is not None else []
    words = {
        "minimum": "at least {}",
        "exclusiveMinimum": "above {}",
        "maximum": "at most {}",
        "exclusiveMaximum": "below {}",
        "maxItems": "up to {} entries",
        "maxLength": "up to {} characters",
    }
    for key, text in words.items():
        if key in about and not (said and key in ("minimum", "maximum")):
            said.append(text.format(_number(about[key])))
    return f" ({', '.join(said)})" if said else ""


def _number(value: float) -> str:
    if isinstance(value, float) and not value.is_integer():
        return f"{value:g}"
    return f"{int(value):,}" if abs(value) >= 10_000 else str(int(value))


def _tidy(text: str) -> str:
    """One line a paragraph, so that what was wrapped in the code is not wrapped here again."""
    blocks = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(b if b.startswith("    ") else " ".join(b.split()) for b in blocks)


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9_ -]", "", title.lower()).replace(" ", "-")


def _platforms() -> str:
    return f"""
A platform is `<os>-<browser>`. Systems: {_codes(SYSTEMS)}. Browsers: {_codes(BROWSERS)}. `tb platforms` lists
those that online runners offer now.
"""


def _presets() -> str:
    rows = []
    for name, p in PRESETS.items():
        cells = [f"`{name}`", p.dwell, "yes" if p.scroll else "no", f"{p.click_ratio:g}", p.depth, p.think]
        rows.append(f"| {' | '.join(map(str, cells))} |\n")
    head = "| preset | dwell | scroll | click_ratio | depth | think |\n|---|---|---|---|---|---|\n"
    return "\nWhat the presets stand for:\n\n" + head + "".join(rows)


def _thresholds() -> str:
    return f"""\
## Thresholds

A threshold is an expression: a metric, `.` and an aggregate, an operator and a number. One that does not hold
fails the job. One on something that was never measured does not hold.

| what | with | unit |
|---|---|---|
| {_codes(threshold.TIMES)} | an aggregate | `ms` (the default), `s`, `m` |
| {_codes(threshold.SIZES)} | an aggregate | `B` (the default), `KB`, `MB`, `KiB`, `MiB` |
| {_codes(threshold.PLAIN)} | an aggregate | none |
| `step["name"]`: time of a step of the journey | an aggregate | `ms` (the default), `s`, `m` |
| {_codes(threshold.RATES)}: share of the sessions that ran | no aggregate | `%`, or a fraction of 1 |
| {_codes(threshold.COUNTS)}: sessions | no aggregate | none |

Aggregates: {threshold.AGGREGATES}.
Operators: `<`, `<=`, `>`, `>=`, `==`. Behind the aggregate may stand one filter: `{{target=<name>}}` or
`{{platform=<platform>}}`; a step takes none.

```yaml
thresholds:
  - load.p95 < 2500ms
  - error_rate < 1%
  - lcp.p75{{target=home}} < 2.5s
  - step["pay"].p90 < 4s
  - threshold: error_rate < 20%
    abort_on_fail: true
    delay: 30s
    window: 1m
```

"""


def _example(name: str, files: Mapping[str, str]) -> str:
    """The remark at its beginning, the rest as it is, and the files that it reads."""
    lines = files[name].splitlines()
    rest = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    remark = [line.removeprefix("#").strip() for line in lines[:rest]]
    body = "\n".join(lines[rest:]).strip("\n")
    words = " ".join(line for line in remark if not line.startswith("tb ")).strip()
    commands = [line for line in remark if line.startswith("tb ")]
    run = "\n```sh\n" + "\n".join(commands) + "\n```\n" if commands else ""
    out = f"\n### {name}\n\n{words}\n{run}\n```yaml\n{body}\n```\n"
    number = name.partition("-")[0]
    for other in sorted(files):
        if other != name and other.startswith(f"{number}-"):
            kind = other.rpartition(".")[2].replace("py", "python")
            out += f"\n`{other}`:\n\n```{kind}\n{files[other].strip()}\n```\n"
    return out


def _codes(words: Sequence[str]) -> str:
    return ", ".join(f"`{w}`" for w in words)
