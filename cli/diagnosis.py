"""`tb doctor`: shows what `doctor.examine` found."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .checks.finding import Finding
from .doctor import examine
from .exit_codes import ExitCode
from .output import err, show
from .settings import Settings, default_data_dir

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


async def diagnose(settings: Settings, *, start: bool, json: bool) -> ExitCode:
    """`INFRASTRUCTURE` if anything failed."""
    data_dir = Path(settings.data_dir) if settings.data_dir else default_data_dir()
    if start and not json:
        err().print("checking; the browsers are really started, which takes a moment …", markup=False)
    findings = await examine(
        settings.server, data_dir, start_browsers=start, web=settings.port, nats=settings.nats_port
    )
    show([f._asdict() for f in findings], lambda: table(findings), json=json)
    return ExitCode.INFRASTRUCTURE if any(f.state == "fail" for f in findings) else ExitCode.PASSED


def table(findings: list[Finding]) -> RenderableType:
    """A line a finding, with how to mend it below where it is not ok."""
    grid = Table.grid(padding=(0, 2))
    for f in findings:
        grid.add_row(Text(f.state, _COLOURS[f.state]), Text(f.name, "bold"), Text(f.found))
        if f.state != "ok" and f.mend:
            grid.add_row("", "", Text(f"→ {f.mend}", "dim"))
    return Group(grid)
