"""What all commands begin with: the flags before the command, settings, a client, the event loop."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from cli.client import Client
    from cli.enrolment import EnrolmentClient
    from cli.people_client import PeopleClient
    from cli.settings import Settings
    from cli.target_client import TargetClient

T = TypeVar("T")

_flags: dict[str, Any] = {}
_file: Path | None = None
_token_file: str | None = None


def keep(file: Path | None, *, token_file: str | None = None, **flags: Any) -> None:
    """Keep what stood before the command for `settings` and `client`."""
    global _file, _token_file
    _file, _token_file = file, token_file
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

    return Client(**_reached())


def people_client() -> PeopleClient:
    from cli.people_client import PeopleClient

    return PeopleClient(**_reached())


def target_client() -> TargetClient:
    from cli.target_client import TargetClient

    return TargetClient(**_reached())


def kept_client(*, shown: bool) -> PeopleClient:
    """One that shows the kept login, if there is one, or nothing; never another credential."""
    from cli import credentials, kept_logins
    from cli.people_client import PeopleClient

    of = settings()
    kept = kept_logins.find(credentials.origin(of.server)) if shown else None
    return PeopleClient(of.server, token=kept.secret if kept else "", ca_file=of.ca_file)


def enrolment_client() -> EnrolmentClient:
    from cli.enrolment import EnrolmentClient

    return EnrolmentClient(**_reached())


def _reached() -> dict[str, Any]:
    """Where the orchestrator is, and the credential to show there."""
    from cli import credentials
    from cli.settings import data_dir_of

    of = settings()
    found = credentials.find(of.server, token_file=_token_file, data_dirs=[data_dir_of(of)])
    return {
        "server": found.server,
        "token": found.secret,
        "token_source": found.source,
        "ca_file": of.ca_file,
    }
