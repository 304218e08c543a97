"""What the client asks of targets."""

from __future__ import annotations

from typing import Any

from broker_config.errors import Problem, SpecError
from broker_config.target_proof import TargetPage, TargetView, normal, target_id

from .client import Client, _part, _read

#: For the answer to a look at an origin, by all methods, s.
_VERIFY_LIMIT = 60.0


class TargetClient(Client):
    """A `Client` with these calls. Origins may be whole URLs; what is none raises `SpecError`."""

    async def targets(self, project: str) -> TargetPage:
        return _read(await self._get(f"/projects/{_part(project)}/targets"), TargetPage)

    async def add_target(self, project: str, origin: str) -> TargetView:
        _id(origin)
        path = f"/projects/{_part(project)}/targets"
        return _read(await self._call("POST", path, json={"origin": origin}), TargetView)

    async def verify_target(self, project: str, origin: str, method: str | None) -> TargetView:
        """Takes as long as the origin does."""
        body = {} if method is None else {"method": method}
        path = f"{_path(project, origin)}/verify"
        return _read(await self._call("POST", path, json=body, timeout=_VERIFY_LIMIT), TargetView)

    async def set_ceilings(self, project: str, origin: str, ceilings: dict[str, Any]) -> TargetView:
        return _read(await self._call("PATCH", _path(project, origin), json=ceilings), TargetView)

    async def grant_target(self, project: str, origin: str, *, without_proof: bool) -> TargetView:
        body = {"without_proof": without_proof}
        return _read(await self._call("PUT", f"{_path(project, origin)}/grant", json=body), TargetView)

    async def withdraw_grant(self, project: str, origin: str) -> TargetView:
        return _read(await self._call("DELETE", f"{_path(project, origin)}/grant"), TargetView)

    async def remove_target(self, project: str, origin: str) -> None:
        await self._call("DELETE", _path(project, origin))


def _path(project: str, origin: str) -> str:
    return f"/projects/{_part(project)}/targets/{_id(origin)}"


def _id(origin: str) -> str:
    try:
        return target_id(normal(origin))
    except ValueError as e:
        raise SpecError([Problem("ORIGIN", str(e))]) from None
