"""`tb audit`: who did what, and whether what is told of it is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from broker_config.api import ChainReport
from broker_config.errors import SettingsError
from broker_config.messages import AuditEntry

from . import audit_table
from .client import Client
from .exit_codes import ExitCode
from .output import err, json_line, out, show

_PAGE = 500
#: An answer while following comes after so many seconds, with or without entries.
_WAIT = 20.0


async def show_list(client: Client, only: dict[str, Any], *, limit: int, json: bool, wide: bool) -> None:
    """The newest entries, the newest last, as in a log."""
    found: list[AuditEntry] = []
    cursor: str | None = None
    async with client as c:
        while len(found) < limit:
            page = await c.audit_entries(limit=min(_PAGE, limit - len(found)), cursor=cursor, **only)
            found += page.items
            cursor = page.next
            if cursor is None:
                break
    found.reverse()
    show(found, lambda: audit_table.entries(found), json=json, wide=wide, nothing="no entries")


async def follow(client: Client, only: dict[str, Any], *, json: bool) -> None:
    """What is noted from now on, one a line, until it is left."""
    async with client as c:
        tail = await c.audit_tail(after=None, wait=0, **only)
        while True:
            for entry in tail.items:
                if json:
                    json_line(entry)
                else:
                    out(wide=True).print(audit_table.one_line(entry), markup=False)
            tail = await c.audit_tail(after=tail.last, wait=_WAIT, **only)


async def export(client: Client, file: Path) -> None:
    """All entries as they are stored, one a line. What comes is checked on the way."""
    from orchestrator.core.audit_chain import ChainCheck

    check, rest = ChainCheck(), b""
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as target:

            def take(piece: bytes) -> None:
                nonlocal rest
                target.write(piece)
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    check.take(line)

            async with client as c:
                await c.export_audit(take)
        part.replace(file)
    except OSError as e:
        raise SettingsError(f"{file} cannot be written: {e.strerror or e}") from None
    finally:
        part.unlink(missing_ok=True)
    report = check.report()
    err().print(f"{file}: {report.entries} entries", markup=False)
    _tell(report)


async def verify(client: Client, *, head: str, json: bool) -> ExitCode:
    """By the orchestrator, over all that is stored."""
    async with client as c:
        report = await c.verify_audit(head)
    return _verdict(report, json=json)


def verify_file(file: Path, *, head: str, json: bool) -> ExitCode:
    """An export, without asking anybody."""
    from orchestrator.core.audit_chain import ChainCheck

    check = ChainCheck(head)
    try:
        with file.open("rb") as source:
            for line in source:
                check.take(line.removesuffix(b"\n"))
    except OSError as e:
        raise SettingsError(f"{file} cannot be read: {e.strerror or e}") from None
    return _verdict(check.report(), json=json)


def _verdict(report: ChainReport, *, json: bool) -> ExitCode:
    if json:
        json_line(report)
    else:
        _tell(report)
    return ExitCode.PASSED if report.holds else ExitCode.INFRASTRUCTURE


def _tell(report: ChainReport) -> None:
    console = out(wide=True)
    for b in report.breaks:
        console.print(f"entry {b.number} {b.what}", markup=False)
    if report.holds:
        console.print(f"the chain holds: {report.entries} entries", markup=False)
    else:
        console.print(f"the chain does not hold: {report.entries} entries were looked at", markup=False)
    if report.after_noted is not None:
        console.print(f"the head that was noted is in it; {report.after_noted} came after", markup=False)
    console.print(f"head: {report.head}", markup=False)
