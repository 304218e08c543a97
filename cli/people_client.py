"""What the client asks of users, projects, tokens and logins."""

from __future__ import annotations

from typing import Any

from broker_config.people_api import (
    LoginMade,
    Me,
    ProjectList,
    ProjectView,
    TokenList,
    TokenMade,
    UserList,
    UserView,
)

from .client import Client, _part, _read


class PeopleClient(Client):
    """A `Client` with these calls."""

    async def login(self, name: str, password: str) -> LoginMade:
        body = {"name": name, "password": password, "keep": "bearer"}
        return _read(await self._call("POST", "/login", json=body), LoginMade)

    async def logout(self) -> None:
        await self._call("POST", "/logout")

    async def me(self) -> Me:
        return _read(await self._get("/me"), Me)

    async def users(self) -> UserList:
        return _read(await self._get("/users"), UserList)

    async def add_user(self, body: dict[str, Any]) -> UserView:
        return _read(await self._call("POST", "/users", json=body), UserView)

    async def change_user(self, name: str, body: dict[str, Any]) -> UserView:
        return _read(await self._call("PATCH", f"/users/{_part(name)}", json=body), UserView)

    async def set_password(self, name: str, password: str, current: str) -> UserView:
        body = {"password": password, "current": current}
        return _read(await self._call("POST", f"/users/{_part(name)}/password", json=body), UserView)

    async def remove_user(self, name: str) -> None:
        await self._call("DELETE", f"/users/{_part(name)}")

    async def tokens(self, owner: str | None = None) -> TokenList:
        return _read(await self._get("/tokens", owner=owner), TokenList)

    async def issue_token(self, body: dict[str, Any]) -> TokenMade:
        return _read(await self._call("POST", "/tokens", json=body), TokenMade)

    async def revoke_token(self, id: str) -> None:
        await self._call("DELETE", f"/tokens/{_part(id)}")

    async def projects(self) -> ProjectList:
        return _read(await self._get("/projects"), ProjectList)

    async def project(self, name: str) -> ProjectView:
        return _read(await self._get(f"/projects/{_part(name)}"), ProjectView)

    async def add_project(self, name: str, quotas: dict[str, Any]) -> ProjectView:
        body = {"name": name, "quotas": quotas}
        return _read(await self._call("POST", "/projects", json=body), ProjectView)

    async def set_quotas(self, name: str, quotas: dict[str, Any]) -> ProjectView:
        return _read(await self._call("PATCH", f"/projects/{_part(name)}", json=quotas), ProjectView)

    async def remove_project(self, name: str) -> None:
        await self._call("DELETE", f"/projects/{_part(name)}")

    async def set_member(self, project: str, user: str, role: str) -> ProjectView:
        path = f"/projects/{_part(project)}/members/{_part(user)}"
        return _read(await self._call("PUT", path, json={"role": role}), ProjectView)

    async def remove_member(self, project: str, user: str) -> ProjectView:
        path = f"/projects/{_part(project)}/members/{_part(user)}"
        return _read(await self._call("DELETE", path), ProjectView)
