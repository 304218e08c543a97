"""`tb proxies …`: pools of proxies. Credentials go in, and never come out."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from broker_config.api import ProxyPoolView, ProxyView
from broker_config.errors import Problem, SpecError
from broker_config.side_file import side_file

from . import proxy_tables
from .client import Client
from .exit_codes import ExitCode
from .output import err, json_line, show

_MAX_BYTES = 4 << 20
#: Lines that were not taken, of which so many are shown.
_MAX_SHOWN = 50


async def take(client: Client, name: str, file: str, *, replace: bool, json: bool) -> None:
    """Import a file (`-`: standard input) into a pool."""
    text = _read(file)
    async with client as c:
        try:
            done = await c.import_proxies(name, text, replace=replace)
        except SpecError as e:
            raise SpecError(e.problems, "standard input" if file == "-" else file) from None
    for problem in done.problems[:_MAX_SHOWN]:
        err().print(f"{problem['where']}: {problem['what']}", markup=False)
    if len(done.problems) > _MAX_SHOWN:
        err().print(f"and {len(done.problems) - _MAX_SHOWN} more; --json shows all", markup=False)
    if json:
        json_line(done)
        return
    words = [f"{done.added} added"]
    words += [f"{done.changed} with other passwords"] if done.changed else []
    words += [f"{len(done.problems)} lines not taken"] if done.problems else []
    pool = done.pool
    err().print(
        f"pool {name}: {', '.join(words)}; it has {pool.proxies}, {pool.enabled} enabled", markup=False
    )


async def show_list(client: Client, name: str | None, *, json: bool, wide: bool) -> None:
    """All pools, or the proxies of one."""
    async with client as c:
        if name is None:
            pools = (await c.proxy_pools()).items
            nothing = "no pools; tb proxies import NAME FILE makes one"
            show(pools, lambda: proxy_tables.pools(pools, time.time()), json=json, nothing=nothing)
        else:
            proxies = (await c.proxy_pool(name)).proxies
            show(
                proxies,
                lambda: proxy_tables.proxies(proxies, time.time()),
                json=json,
                wide=wide,
                nothing=f"pool {name} is empty; tb proxies import {name} FILE fills it",
            )


async def test(client: Client, name: str, *, url: str, runner: str, json: bool, wide: bool) -> ExitCode:
    """Test all proxies of a pool, disabled ones too. Not `PASSED` where an enabled one does not work."""
    items: list[ProxyView] = []
    first: int | None = 0
    async with client as c:
        while first is not None:
            report = await c.test_proxies(name, first=first, url=url, runner=runner)
            items += report.items
            # The rest from the same place.
            runner, first = report.runner, report.next
    nothing = f"pool {name} is empty; tb proxies import {name} FILE fills it"
    shown = lambda: proxy_tables.proxies(items, time.time())  # noqa: E731
    show(items, shown, json=json, wide=wide, nothing=nothing)
    enabled = [p for p in items if p.enabled and p.tested is not None]
    working = sum(p.tested.ok for p in enabled if p.tested is not None)
    err().print(f"{working} of {len(enabled)} enabled proxies work, seen from runner {runner}", markup=False)
    return ExitCode.PASSED if working == len(enabled) else ExitCode.INFRASTRUCTURE


async def switch(
    client: Client, name: str, proxies: list[str], *, everything: bool, enabled: bool, json: bool
) -> None:
    """Enable or disable proxies of a pool."""
    if everything == bool(proxies):
        raise SpecError([Problem("", "name the proxies as HOST:PORT, or give --all; not both")])
    async with client as c:
        pool = await c.switch_proxies(name, proxies, everything=everything, enabled=enabled)
    _told(pool, json=json)


async def remove(client: Client, name: str, *, json: bool) -> None:
    async with client as c:
        await c.remove_proxies(name)
    if json:
        json_line({"name": name})
    else:
        err().print(f"pool {name} is removed", markup=False)


def _told(pool: ProxyPoolView, *, json: bool) -> None:
    if json:
        json_line(pool)
        return
    enabled = sum(p.enabled for p in pool.proxies)
    err().print(f"pool {pool.name}: {enabled} of {len(pool.proxies)} proxies are enabled", markup=False)


def _read(file: str) -> str:
    try:
        if file == "-":
            data = sys.stdin.buffer.read(_MAX_BYTES + 1)
        else:
            data = side_file(file, Path(), "FILE", beside="").read_bytes()
    except OSError as e:
        raise SpecError([Problem("", e.strerror or str(e))], file) from None
    if len(data) > _MAX_BYTES:
        raise SpecError([Problem("", f"it is over the limit of {_MAX_BYTES >> 20} MiB")], file)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SpecError([Problem("", "it is not UTF-8 text")], file) from None
