"""The judge of the fault campaign, on accounts that are wrong and on some that only look so."""

from __future__ import annotations

from broker_config.job_spec import JobSpec, read_spec
from tests.campaigns.fault_account import Frozen, Start, _ceilings


def spec(vus: int = 1, rate: float | None = None) -> JobSpec:
    return read_spec(
        {
            "targets": [{"url": "http://127.0.0.1:1/a"}],
            "sessions": 9,
            "load": {"executor": "shared-sessions", "vus": vus},
            **({"limits": {"rate": rate}} if rate else {}),
        }
    )


def start(session: int, begin: float, end: float | None, runner: str = "r1", attempt: int = 1) -> Start:
    return Start(runner, session, attempt, begin, end, {"rate": 2.0})


def found(starts: list[Start], frozen: Frozen | None = None, **of: float) -> list[str]:
    return list(_ceilings(spec(**of), starts, frozen or {}))  # type: ignore[arg-type]


def test_one_more_session_than_virtual_users_is_found() -> None:
    assert found([start(1, 10, 12), start(2, 12, 13)]) == []
    (words,) = found([start(1, 10, 12), start(2, 11.9, 13)])
    assert words.startswith("2 sessions at once, and there are 1 virtual users")


def test_a_session_that_two_runners_have_is_one() -> None:
    assert found([start(1, 10, 14), start(1, 13, 13.5, "r2", 2)]) == []


def test_a_frozen_runner_does_nothing_while_its_session_ends_elsewhere() -> None:
    elsewhere = [start(1, 10, 14.6), start(1, 13, 13.3, "r2", 2), start(2, 13.4, 13.8, "r2")]
    assert found(elsewhere, {"r1": [(10.2, 14.5)]}) == []
    assert len(found(elsewhere)) == 1
    assert len(found(elsewhere, {"r3": [(10.2, 14.5)]})) == 1, "it was another that was frozen"


def test_what_wakes_has_a_second_to_end_and_no_more() -> None:
    woken = [start(1, 10, 15), start(2, 14.8, 15.5, "r2")]
    assert found(woken, {"r1": [(10.2, 14.5)]}) == []
    late = [start(1, 10, 15.8), start(2, 14.8, 15.5, "r2")]
    assert len(found(late, {"r1": [(10.2, 14.5)]})) == 1


def test_a_short_freeze_excuses_nothing_after_it() -> None:
    assert len(found([start(1, 10, 11), start(2, 10.9, 12, "r2")], {"r1": [(10.2, 10.4)]})) == 1


def test_shares_of_the_rate_add_up() -> None:
    assert found([start(1, 10, 12), start(2, 11, 13)], vus=2, rate=4) == []
    (words,) = found([start(1, 10, 12), start(2, 11, 13)], vus=2, rate=3)
    assert words.startswith("4 requests a second given away, of 3")
