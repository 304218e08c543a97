"""Changes of a pool of proxies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from broker_config.errors import Problem, SpecError
from broker_config.proxy import FORMS, Proxy
from broker_config.proxy_pool import ProxyPool, identity


class Merged(NamedTuple):
    """`changed` is the number of those that have other passwords now."""

    proxies: list[Proxy]
    added: int
    changed: int
    problems: list[Problem]


def merged(before: Sequence[Proxy], lines: Mapping[int, Proxy]) -> Merged:
    """The proxies of before and those of the lines. Who is there already stays at its place, enabled or not,
    and takes over the password."""
    place = {identity(p): i for i, p in enumerate(before)}
    proxies = list(before)
    added = changed = 0
    problems = []
    for number, proxy in lines.items():
        at = place.get(identity(proxy))
        if at is None:
            proxies.append(proxy)
            added += 1
        elif proxies[at].password == proxy.password:
            problems.append(Problem(f"line {number}", f"{proxy} is in the pool already"))
        else:
            proxies[at] = msgspec.structs.replace(proxies[at], password=proxy.password)
            changed += 1
    return Merged(proxies, added, changed, problems)


def switched(pool: ProxyPool, names: Sequence[str] | None, *, enabled: bool) -> list[Proxy]:
    """The proxies, those that are named enabled or disabled; None is all.

    A name is `host:port` for all at this address, or a URL, with a user name where several have one. Raises
    `SpecError` for names that fit none.
    """
    if names is None:
        return [msgspec.structs.replace(p, enabled=enabled) for p in pool.proxies]
    chosen: set[int] = set()
    problems = []
    for i, name in enumerate(names):
        try:
            wanted = Proxy.parse(name)
        except ValueError as e:
            problems.append(Problem(f"proxies[{i}]", f"{e}; name it as in the list of the pool"))
            continue
        found = {n for n, p in enumerate(pool.proxies) if _fits(p, wanted, scheme="://" in name)}
        if not found:
            problems.append(Problem(f"proxies[{i}]", f"{wanted.address} is not in the pool"))
        chosen |= found
    if problems:
        raise SpecError(problems)
    return [
        msgspec.structs.replace(p, enabled=enabled) if n in chosen else p for n, p in enumerate(pool.proxies)
    ]


def nothing_usable(problems: Sequence[Problem]) -> SpecError:
    """The error for lines of which none is a proxy."""
    return SpecError(problems or [Problem("lines", f"there is no proxy in it; write one a line: {FORMS}")])


def _fits(proxy: Proxy, wanted: Proxy, *, scheme: bool) -> bool:
    return (
        (proxy.host, proxy.port) == (wanted.host, wanted.port)
        and (not scheme or proxy.scheme == wanted.scheme)
        and (wanted.user is None or proxy.user == wanted.user)
    )
