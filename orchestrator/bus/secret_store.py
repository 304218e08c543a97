"""Secrets of projects, in the bucket `secrets` under `<project>.<name>`, their values sealed for that key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

import msgspec

from broker_config import codec, secret_ref
from broker_config.api import SecretView
from broker_config.errors import NameRefused, Problem, ProjectNotFound, SecretNotFound, SpecError
from broker_config.job_spec import JobSpec
from broker_config.seal import Seal
from broker_config.streams import SECRETS
from broker_config.subjects import token

from .jet import Jet

STREAM = f"KV_{SECRETS.name}"
#: Of one project.
MAX_SECRETS = 1_000


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """As the bucket keeps it."""

    sealed: bytes
    set_at: float
    set_by: str = ""


class SecretStore:
    """Every call may raise `BrokerUnavailable`. No value leaves here but by `values`."""

    def __init__(self, jet: Jet, seal: Seal, *, clock: Callable[[], float]) -> None:
        self._jet = jet
        self._seal = seal
        self._clock = clock

    async def put(self, project: str, name: str, value: str, *, by: str = "") -> SecretView:
        """Store it, or put it in the place of an earlier one. Raises `SpecError` for what cannot be one."""
        if wrong := secret_ref.name_problem(name):
            raise SpecError([Problem("name", wrong)])
        if problem := _value_problem(value):
            raise SpecError([Problem("value", problem)])
        key = _key(project, name)
        if await self._read(key) is None and len(await self._names(project)) >= MAX_SECRETS:
            raise SpecError([Problem("name", f"project {project} has {MAX_SECRETS} secrets; remove some")])
        stored = Stored(sealed=self._seal.seal(_place(key), value.encode()), set_at=self._clock(), set_by=by)
        await self._jet.publish(_subject(key), codec.encode(stored))
        return _view(name, stored)

    async def all(self, project: str) -> list[SecretView]:
        """By name."""
        names = await self._names(project)
        found = await asyncio.gather(*(self._read(_key(project, n)) for n in names))
        return [_view(n, s) for n, s in zip(names, found, strict=True) if s is not None]

    async def remove(self, project: str, name: str) -> None:
        """Without a trace. Raises `SecretNotFound`."""
        if secret_ref.name_problem(name) or await self._read(_key(project, name)) is None:
            raise SecretNotFound(
                f"project {project} has no secret {name[:100]!r}; `tb secrets list` shows them"
            )
        await self._jet.api(f"STREAM.PURGE.{STREAM}", {"filter": _subject(_key(project, name))})

    async def forget(self, project: str) -> None:
        """Remove all secrets of a project: a later one of the same name must not find them."""
        await self._jet.api(f"STREAM.PURGE.{STREAM}", {"filter": _subject(f"{_project(project)}.*")})

    async def check(self, spec: JobSpec, project: str) -> None:
        """Raises `SpecError` that names each place where the spec names a secret that is not there."""
        named = secret_ref.first_places(spec.journey, spec.data.rows if spec.data else (), spec.script)
        if not named:
            return
        there = set(await self._names(project))
        problems = [
            Problem(where, f"project {project} has no secret {name!r}; `tb secrets set {name}` stores one")
            for name, where in named.items()
            if name not in there
        ]
        if problems:
            raise SpecError(problems)

    async def values(self, project: str, names: Collection[str]) -> Mapping[str, str]:
        """Raises `SecretNotFound` for one that is there no longer, and `SealBroken`."""
        out = {}
        for name in names:
            key = _key(project, name)
            stored = await self._read(key)
            if stored is None:
                raise SecretNotFound(f"project {project} has no secret {name!r} (any more)")
            out[name] = self._seal.open(_place(key), stored.sealed).decode()
        return out

    async def _names(self, project: str) -> list[str]:
        prefix = _subject(f"{_project(project)}.")
        subjects = await self._jet.subjects(STREAM, f"{prefix}*")
        return sorted(s.removeprefix(prefix) for s in subjects)

    async def _read(self, key: str) -> Stored | None:
        entry = await self._jet.get(STREAM, _subject(key))
        return None if entry is None or entry.deleted else codec.decode(entry.value, Stored)


def _value_problem(value: str) -> str | None:
    size = len(value.encode("utf-8", "replace"))
    if size > secret_ref.MAX_BYTES:
        return f"{size} bytes are too many; at most {secret_ref.MAX_BYTES >> 10} KiB"
    if len(value) < secret_ref.MIN_LENGTH:
        least = secret_ref.MIN_LENGTH
        return f"is too short: fewer than {least} characters cannot be masked in what sessions record"
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        return "holds a character that no page can be given"
    return None


def _project(name: str) -> str:
    try:
        return token(name, "project")
    except NameRefused as e:
        raise ProjectNotFound(f"there is no project {name[:100]!r}: {e}") from None


def _key(project: str, name: str) -> str:
    return f"{_project(project)}.{token(name, 'secret')}"


def _subject(key: str) -> str:
    return f"$KV.{SECRETS.name}.{key}"


def _place(key: str) -> str:
    return f"{SECRETS.name}/{key}"


def _view(name: str, stored: Stored) -> SecretView:
    return SecretView(name=name, set_at=stored.set_at, set_by=stored.set_by)
