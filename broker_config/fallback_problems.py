"""What is wrong with a job's fallback platforms."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from .errors import Problem
from .platform import parse_platform


def fallback_problems(fallback: Mapping[str, Sequence[str]], platforms: Collection[str]) -> Iterator[Problem]:
    """`platforms` are those that the job asks for."""
    for asked, others in fallback.items():
        where = f"fallback.{asked}"
        if asked not in platforms:
            known = ", ".join(platforms)
            yield Problem(where, f"the job does not ask for {asked!r}; it asks for {known}")
        if not others:
            yield Problem(where, "is empty; name the platforms to take instead, or leave it out")
        for i, platform in enumerate(others):
            try:
                parse_platform(platform)
            except ValueError as e:
                yield Problem(f"{where}[{i}]", str(e))
                continue
            if platform == asked:
                yield Problem(f"{where}[{i}]", "is the platform itself; name others")
            elif platform in others[:i]:
                yield Problem(f"{where}[{i}]", f"{platform} stands there twice")
