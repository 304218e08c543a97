"""`tb audit` on a terminal of 80 columns, and the moments that it understands."""

from __future__ import annotations

import pytest
from rich.console import Console

from broker_config.errors import SettingsError
from broker_config.messages import AuditEntry
from cli.audit_table import entries, one_line, who
from cli.moment import since

ENTRY = AuditEntry(number=812, at=1_764_000_042.5, action="job.cancel", result="refused")
LONG = "x" * 200
FULL = AuditEntry(
    number=2_000_000,
    at=1_764_000_042.5,
    action="proxies.replace",
    result="refused",
    actor=LONG,
    kind="token",
    address="2001:db8:1234:5678:9abc:def0:1234:5678",
    object=LONG,
    detail=LONG,
    times=1_000_000,
)


def lines(rows: list[AuditEntry], width: int) -> list[str]:
    console = Console(width=width, record=True, file=None, highlight=False)
    with console.capture() as taken:
        console.print(entries(rows))
    return [line.rstrip() for line in taken.get().splitlines()]


def test_the_table_fits_80_columns_whatever_stands_in_it() -> None:
    shown = lines([FULL, ENTRY, FULL], 80)
    assert len(shown) == 5
    assert all(len(line) <= 80 for line in shown)
    assert "proxies.replace" in shown[2]
    assert "refused" in shown[2]


def test_a_wide_table_shows_all() -> None:
    [shown] = lines([FULL], 2_000)[2:]
    for part in ("2000000", f"{LONG} (token)", FULL.address, f"proxies.replace {LONG}", "1000000×"):
        assert part in shown


def test_a_name_that_says_what_it_is_stands_alone() -> None:
    assert who(ENTRY) == "–"
    assert who(AuditEntry(number=1, at=1, action="read", result="ok", kind="anonymous")) == "anonymous"
    assert who(AuditEntry(number=1, at=1, action="read", result="ok", kind="user", actor="mia")) == "mia"
    assert who(AuditEntry(number=1, at=1, action="read", result="ok", kind="token", actor="a")) == "a (token)"


def test_one_line_of_many() -> None:
    entry = AuditEntry(
        number=1, at=1, action="login", result="failed", kind="user", actor="mia", detail="no\nroom"
    )
    assert one_line(entry).endswith("mia login: failed: no room")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2h", 1_000_000 - 7200), ("90", 1_000_000 - 90), ("2026-11-24T12:00:00+00:00", 1_795_521_600)],
)
def test_a_moment(text: str, expected: float) -> None:
    assert since(text, 1_000_000) == expected


@pytest.mark.parametrize("text", ["yesterday", "", "2h ago", "2026-13-01"])
def test_what_is_no_moment_says_so(text: str) -> None:
    with pytest.raises(SettingsError, match="is no time"):
        since(text, 1_000_000)
