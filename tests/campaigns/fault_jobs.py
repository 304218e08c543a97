"""Jobs for the fault campaign: of all executors, with what goes with them, and orders on their way."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from tests.support.fault_runner import FLAKY

CHROMIUM, FIREFOX = "linux-chromium", "linux-firefox"
EXECUTORS = (
    "shared-sessions",
    "constant-vus",
    "ramping-vus",
    "constant-arrival-rate",
    "ramping-arrival-rate",
)
_SCRIPT = {"source": "async def journey(page, context, data):\n    pass\n"}


class Order(NamedTuple):
    """`command` is given `after` so many seconds from the submission or the order before."""

    after: float
    command: str


def draw(rng: random.Random, name: str) -> dict[str, Any]:
    """A job's document; small enough to be over within seconds."""
    executor = rng.choices(EXECUTORS, [30, 20, 15, 20, 15])[0]
    document: dict[str, Any] = {
        "name": f"{name} {executor}",
        "targets": [
            {"url": "http://127.0.0.1:1/a", "name": "a"},
            {"url": "http://127.0.0.1:1/b", "name": "b", "share": 2},
        ],
        "load": _load(rng, executor),
        "retries": 3,
        "seed": rng.randrange(1 << 30),
        "priority": rng.randint(0, 9),
    }
    if executor == "shared-sessions":
        document["sessions"] = rng.randint(30, 150)
    elif rng.random() < 0.3:
        document["sessions"] = rng.randint(5, 40)
    if rng.random() < 0.5:
        document["platforms"] = {CHROMIUM: 2, FIREFOX: 1}
        if rng.random() < 0.6:
            document["fallback"] = {FIREFOX: [CHROMIUM]}
    if rng.random() < 0.25:
        document["limits"] = {"rate": round(rng.uniform(2, 50), 1)}
    if rng.random() < 0.1:
        document["script"] = _SCRIPT
        document.pop("platforms", None)
        document.pop("fallback", None)
    if rng.random() < 0.25:
        document["targets"].append({"url": f"http://127.0.0.1:1{FLAKY}", "name": "flaky"})
        rule: dict[str, Any] = {"threshold": "error_rate < 8%"}
        if rng.random() < 0.7:
            rule |= {"abort_on_fail": True, "delay": round(rng.uniform(0, 2), 1)}
            if rng.random() < 0.5:
                rule["window"] = 2
        document["thresholds"] = [rule]
    return document


def orders(rng: random.Random) -> list[Order]:
    """What is ordered while the job runs: mostly nothing."""
    out: list[Order] = []
    if rng.random() < 0.4:
        for _ in range(rng.randint(1, 2)):
            out += [Order(rng.uniform(0, 2.5), "pause"), Order(rng.uniform(0.05, 4), "resume")]
    if rng.random() < 0.15:
        out.append(Order(rng.uniform(0.1, 3), "cancel"))
    return out


def _load(rng: random.Random, executor: str) -> dict[str, Any]:
    load: dict[str, Any] = {"executor": executor}
    if rng.random() < 0.3:
        load["start_delay"] = round(rng.uniform(0.2, 1.5), 1)
    load["graceful_stop"] = rng.choice([0.3, 3, 30])
    seconds = [round(rng.uniform(0.8, 2.5), 1) for _ in range(rng.randint(1, 3))]
    match executor:
        case "shared-sessions":
            load["vus"] = rng.randint(4, 16)
            if rng.random() < 0.2:
                load["max_duration"] = round(rng.uniform(2, 8), 1)
        case "constant-vus":
            load |= {"vus": rng.randint(2, 7), "duration": sum(seconds)}
        case "ramping-vus":
            load["start_vus"] = rng.randint(0, 3)
            load["stages"] = [{"duration": s, "target": rng.randint(1, 8)} for s in seconds]
        case "constant-arrival-rate":
            load |= {"rate": rng.randint(2, 15), "duration": sum(seconds)}
        case _:
            load["start_rate"] = rng.randint(1, 4)
            load["stages"] = [{"duration": s, "target": rng.randint(2, 15)} for s in seconds]
    if "arrival" in executor:
        load |= {"max_vus": rng.randint(2, 20), "late_limit": rng.choice([0.1, 0.5, 2])}
    elif rng.random() < 0.4:
        load["pacing"] = round(rng.uniform(0.1, 1), 1)
    return load
