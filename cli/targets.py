"""Targets in bulk, where a job is submitted: from a file beside the spec, or from a URL."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

import httpx

from broker_config.errors import Problem, SpecError
from broker_config.origin import Origin
from broker_config.side_file import side_file
from broker_config.target_list import MAX_BYTES, Entry, TargetFile, checked, parse

#: Sitemaps that an index may name.
MAX_SITEMAPS = 200
_MAX_REDIRECTS = 5
#: For all that is fetched, s.
_PATIENCE = 60.0
_SHOWN = 20


async def with_targets(
    document: dict[str, Any],
    folder: Path,
    *,
    named: str | None,
    skip_bad: bool,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """A job's document with the targets of a file or URL in its place; as it is where it names none.

    `named` is what the user named on the command line; it goes in place of what the document says, and it
    may be a URL of any origin. A document may name one of loopback only: it may come from somebody else. Bad
    lines are refused, or left out and told to `say` if `skip_bad`. Raises `SpecError`.
    """
    place = named if named is not None else document.get("targets_file")
    if place is None:
        return document
    if not isinstance(place, str) or not place:
        raise SpecError([Problem("targets_file", f"{place!r} is not the name of a file")])
    if named is None and "targets" in document:
        return document  # to be refused with all else that is wrong
    if "://" in place:
        try:
            async with asyncio.timeout(_PATIENCE):
                found = await _from_web(place, asked=named is not None)
        except TimeoutError:
            raise _wrong(place, f"it cannot be fetched within {_PATIENCE:g} s") from None
    else:
        if named is None:
            path = side_file(place, folder, "targets_file")
        else:
            path = side_file(place, Path(), "--targets", beside="")
        found = await asyncio.to_thread(_from_files, path)
    rows, bad = checked(found.files)
    bad = [*found.bad, *bad]
    if bad and not skip_bad:
        hint = Problem("", "--skip-bad-targets leaves these lines out")
        raise SpecError([*_some(bad), hint], place)
    if bad:
        say(f"{place}: {len(bad)} lines are left out")
        for problem in _some(bad):
            say(f"  {problem}")
    if not rows:
        raise SpecError([Problem("", "it holds no targets")], place)
    rest = {k: v for k, v in document.items() if k not in ("targets", "targets_file")}
    return rest | {"targets": rows}


class _Found(NamedTuple):
    files: list[tuple[str, list[Entry]]]
    bad: list[Problem]


def _from_files(path: Path) -> _Found:
    first = _read(path)
    found = _Found([(str(path), first.entries)], [])
    for line, row, _ in _bounded(first, str(path)):
        # The index names addresses on the web; what was saved of them lies beside it.
        name = PurePosixPath(urlsplit(row["url"]).path).name
        beside = path.parent / name
        if not name or not beside.is_file():
            what = (
                f"{row['url']} is not beside it; save it there, or name the index by its URL with --targets"
            )
            found.bad.append(Problem(f"line {line}", what))
            continue
        _add(found, str(beside), _read(beside))
    return found


def _read(path: Path) -> TargetFile:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SpecError([Problem("", f"it is larger than {MAX_BYTES >> 20} MiB")], str(path))
        return parse(path.read_bytes(), str(path))
    except OSError as e:
        raise SpecError([Problem("", e.strerror or str(e))], str(path)) from None


async def _from_web(url: str, *, asked: bool) -> _Found:
    try:
        origin = Origin.of(url)
    except ValueError as e:
        raise SpecError([Problem("targets_file", str(e))]) from None
    if not asked and not origin.is_loopback:
        what = f"reading {url} sends a request to {origin}; name it yourself with --targets"
        raise SpecError([Problem("targets_file", what)])
    headers = {
        "user-agent": f"TrafficBuster/{version('trafficbuster')} (targets)",
        "accept-encoding": "identity",
    }
    async with httpx.AsyncClient(timeout=20, trust_env=False, headers=headers) as http:
        first = parse(await _get(http, url, origin), url)
        found = _Found([(url, first.entries)], [])
        for line, row, _ in _bounded(first, url):
            place = urljoin(url, row["url"])
            try:
                foreign = Origin.of(place) != origin
            except ValueError as e:
                found.bad.append(Problem(f"line {line}", str(e)))
                continue
            if foreign:
                found.bad.append(Problem(f"line {line}", f"{place} is of another origin and is not asked"))
                continue
            _add(found, place, parse(await _get(http, place, origin), place))
    return found


async def _get(http: httpx.AsyncClient, url: str, origin: Origin) -> bytes:
    for _ in range(_MAX_REDIRECTS):
        try:
            async with http.stream("GET", url) as answer:
                if answer.next_request is None:
                    if answer.status_code != 200:
                        raise _wrong(url, f"the site answers {answer.status_code}")
                    data = bytearray()
                    async for chunk in answer.aiter_bytes():
                        data += chunk
                        if len(data) > MAX_BYTES:
                            raise _wrong(url, f"it is larger than {MAX_BYTES >> 20} MiB")
                    return bytes(data)
                onward = str(answer.next_request.url)
        except (httpx.HTTPError, httpx.InvalidURL) as e:
            raise _wrong(url, f"it cannot be fetched: {e or type(e).__name__}") from None
        if Origin.of(onward) != origin:
            raise _wrong(url, f"it leads to another origin, {onward}; name that one if it may be asked")
        url = onward
    raise _wrong(url, f"it leads on more than {_MAX_REDIRECTS} times")


def _bounded(file: TargetFile, name: str) -> Sequence[Entry]:
    if len(file.sitemaps) > MAX_SITEMAPS:
        raise _wrong(name, f"it names {len(file.sitemaps)} sitemaps; at most {MAX_SITEMAPS} are read")
    return file.sitemaps


def _add(found: _Found, name: str, file: TargetFile) -> None:
    found.files.append((name, file.entries))
    if file.sitemaps:
        found.bad.append(Problem(name, "it is an index itself, and an index in an index is not read"))


def _some(problems: list[Problem]) -> list[Problem]:
    more = len(problems) - _SHOWN
    return problems[:_SHOWN] + ([Problem("", f"and {more} more lines")] if more > 0 else [])


def _wrong(name: str, what: str) -> SpecError:
    return SpecError([Problem("", what)], name)
