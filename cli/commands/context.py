"""What all commands begin with: the flags before the command, settings, a client, the event loop."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from cli.client import Client
    from cli.settings import Settings

T = TypeVar("T")

_flags: dict[str, Any] = {}
_file: Path | None = None


def keep(file: Path | None, **flags: Any) -> None:
    """Keep what stood before the command for `settings`."""
    global _file
    _file = file
    _flags.clear()
    _flags.update(flags)


def settings(**flags: Any) -> Settings:
    """The settings of this call: its flags, then environment and settings file."""
    from cli import settings

    return settings.load(_flags | flags, file=_file)


def run(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    return asyncio.run(work)


def client() -> Client:
    from cli.client import Client

    return Client(settings().server)
