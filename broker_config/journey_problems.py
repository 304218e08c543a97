"""What is wrong with a journey, its data and its devices, beyond the shape of the document."""

from __future__ import annotations

import difflib
import zoneinfo
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from . import codec, secret_ref, variables
from .data import Data
from .device import MAX_DEVICES, Device, unknown_device
from .errors import Problem
from .journey import ACTIONS, BUILT_IN, Expect, Journey, Locator, Press, Step, WaitFor
from .origin import Origin

#: Most origins between which a journey may go by absolute addresses: each session carries their list.
MAX_ORIGINS = 50


def journey_problems(
    journey: Journey, data: Data | None, urls: Sequence[str], listed: Sequence[str] = ()
) -> Iterator[Problem]:
    """`urls` are those of the targets; `listed` are the other origins that the job may open."""
    origins = set()
    for url in (*urls, *listed):
        try:
            origins.add(Origin.of(url))
        except ValueError:
            continue  # reported with the targets
    if wanders(journey) and len(origins) > MAX_ORIGINS:
        yield Problem(
            "journey",
            f"goto with whole addresses works for jobs of at most {MAX_ORIGINS} origins; this one has "
            f"{len(origins)}. Use paths such as /cart",
        )
    if journey.timeout <= 0:
        yield Problem("journey.timeout", "a time-out of 0 is not allowed")
    columns = Counter(column for row in data.rows for column in row) if data else Counter()
    for i, step in enumerate(journey.steps):
        where = f"journey.steps[{i}]"
        if len(step.actions) != 1:
            said = f"has {len(step.actions)} actions ({', '.join(step.actions)}); give each its own step"
            said = said if step.actions else f"has no action; use one of {', '.join(ACTIONS)}"
            yield Problem(where, said)
            continue
        if step.timeout is not None and step.timeout <= 0:
            yield Problem(f"{where}.timeout", "a time-out of 0 is not allowed")
        yield from _action_problems(step, where, origins)
        yield from _variable_problems(step, where, data, columns)


def wanders(journey: Journey) -> bool:
    """Whether a `goto` of it may lead to another origin than that of the page."""
    return any(step.goto is not None and not _is_path(step.goto) for step in journey.steps)


def _is_path(address: str) -> bool:
    """Whether it is relative to the page's origin, whatever its variables hold."""
    return address[:1] in ("/", "?", "#") and address[1:2] not in ("/", "\\", "$")


def _action_problems(step: Step, where: str, origins: set[Origin]) -> Iterator[Problem]:
    name, argument = step.action
    at = f"{where}.{name}"
    if name == "goto" and not variables.names(argument) and "://" in argument:
        try:
            origin = Origin.of(argument)
        except ValueError as e:
            yield Problem(at, str(e))
        else:
            if origins and origin not in origins:
                allowed = ", ".join(map(str, sorted(origins)[:10]))
                said = f"{origin} is not an origin of the targets or of origins; allowed: {allowed}"
                yield Problem(at, said)
    if not isinstance(argument, Locator):
        return
    if len(argument.kinds) > 1:
        yield Problem(at, f"has {' and '.join(argument.kinds)}; give one (text may stand beside it)")
    if argument.name is not None and argument.role is None:
        yield Problem(f"{at}.name", "goes with role only, such as {role: button, name: Pay}")
    if argument.is_empty and not _needs_no_place(argument):
        yield Problem(at, "does not say where; use role, label, text, test_id or css")
    if isinstance(argument, Expect) and argument.count is not None and argument.state == "hidden":
        yield Problem(f"{at}.count", "does not go with state: hidden; use count: 0")
    if isinstance(argument, Expect) and argument.is_empty:
        for field in ("count", "value"):
            if getattr(argument, field) is not None:
                yield Problem(f"{at}.{field}", "of what? Use role, label, text, test_id or css beside it")


def _needs_no_place(argument: Locator) -> bool:
    if isinstance(argument, WaitFor):
        return argument.url is not None
    if isinstance(argument, Expect):
        return argument.url is not None or argument.title is not None
    return isinstance(argument, Press)


def _variable_problems(step: Step, where: str, data: Data | None, columns: Counter[str]) -> Iterator[Problem]:
    known = [*BUILT_IN, *(f"{data.name}.{c}" for c in columns)] if data else list(BUILT_IN)
    for place, text in variables.texts(codec.to_builtins(step), where):
        for name in variables.names(text):
            if secret_ref.secret_name(name) is not None:
                continue
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"did you mean ${{{near[0]}}}?" if near else f"there are {', '.join(known[:20])}"
                yield Problem(place, f"there is no variable ${{{name}}}; {hint}")
            elif data and name not in BUILT_IN:
                column = name.partition(".")[2]
                if columns[column] < len(data.rows):
                    missing = next(i for i, row in enumerate(data.rows) if column not in row)
                    yield Problem(f"data.rows[{missing}]", f"has no {column!r}, which {place} uses")


def data_problems(data: Data, sessions: int | None) -> Iterator[Problem]:
    """`sessions` is the number of the job; None where nobody knows it before the end."""
    if data.file is not None:
        yield Problem("data.file", "is read where a job is submitted by `tb`; here give the rows themselves")
    elif not data.rows:
        yield Problem("data.rows", "is empty; at least one row is needed")
    elif data.mode == "unique" and sessions is None:
        yield Problem(
            "data.mode",
            "unique needs a bound where virtual users begin as many sessions as they can; give the job "
            f"sessions, at most the {len(data.rows)} rows, or use another mode",
        )
    elif data.mode == "unique" and sessions is not None and len(data.rows) < sessions:
        yield Problem(
            "data.rows",
            f"{len(data.rows)} rows are too few for {sessions} sessions in mode unique; add rows, or use "
            "another mode",
        )


def device_problems(devices: Sequence[Device], *, mapping: bool = False) -> Iterator[Problem]:
    """`mapping`: they were given as names with weights."""
    if len(devices) > MAX_DEVICES:
        yield Problem("devices", f"{len(devices)} devices; at most {MAX_DEVICES} are allowed")
    seen: dict[str, int] = {}
    for i, d in enumerate(devices):
        where = f"devices.{d.device}" if mapping else f"devices[{i}]"
        if d.device is not None and (wrong := unknown_device(d.device)):
            yield Problem(where, wrong)
        if not 0 < d.weight <= 1_000_000:
            yield Problem(where, f"weight {d.weight} is not allowed; use a number above 0")
        if d.label in seen:
            yield Problem(where, f"{d.label!r} is the name of devices[{seen[d.label]}] too; give it a name")
        seen.setdefault(d.label, i)
        if d.timezone is not None and (known := zoneinfo.available_timezones()) and d.timezone not in known:
            near = difflib.get_close_matches(d.timezone, known, 1)
            hint = f"; did you mean {near[0]}?" if near else "; use a name such as Europe/Vienna"
            yield Problem(f"{where}.timezone", f"there is no time zone {d.timezone!r}{hint}")


def step_problem(step: str, journey: Journey | None) -> str | None:
    """What is wrong with a step's name in a threshold, or None."""
    names: Mapping[str, None] = dict.fromkeys(
        s.label for s in (journey.steps if journey else ()) if len(s.actions) == 1
    )
    if step in names:
        return None
    if not names:
        return f"the job has no journey, so no step {step!r}"
    near = difflib.get_close_matches(step, names, 1)
    return f"the journey has no step {step!r}; " + (
        f"did you mean {near[0]!r}?" if near else f"it has {', '.join(list(names)[:10])}"
    )
