"""`tb profiles`: the devices that sessions can pretend to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from broker_config.device_table import DEVICES, DeviceFacts

from .output import show
from .table import Table, row, table


def show_list(words: Sequence[str], *, json: bool) -> None:
    """Profiles in whose name every one of the words occurs."""
    parts = " ".join(words).lower().split()
    found = {name: facts for name, facts in DEVICES.items() if all(p in name.lower() for p in parts)}
    rows = [{"name": name, **facts._asdict()} for name, facts in found.items()]
    nothing = f"no profile has {' '.join(words)!r} in its name; tb profiles list shows all {len(DEVICES)}"
    show(rows, lambda: _shown(found), json=json, nothing=nothing)


def _shown(found: Mapping[str, DeviceFacts]) -> Table:
    out = table("name", "viewport", "scale", "mobile", "touch", "browser", right=["viewport", "scale"])
    for name, f in found.items():
        yes = ["yes" if fact else "" for fact in (f.mobile, f.touch)]
        row(out, name, f"{f.width}×{f.height}", f"{f.scale:g}", *yes, f.browser)
    return out
