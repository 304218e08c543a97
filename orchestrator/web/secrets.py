"""`/projects/{project}/secrets`: stored secrets of a project. Values go in, and never come out."""

from __future__ import annotations

import msgspec
from starlette.requests import Request

from broker_config.api import SecretList, SecretValue, SecretView
from broker_config.errors import ProjectNotFound
from orchestrator.core.access import Access

from .access_check import Owned
from .authentication import principal
from .typed_route import TypedRoute
from .web_state import web

#: A value of 64 KiB, each byte of it written as `\\u0000`.
MAX_BODY = 6 * (64 << 10) + 1024


class RemovedSecret(msgspec.Struct, frozen=True, kw_only=True):
    """The secret that is no more."""

    project: str
    name: str


async def list_secrets(request: Request, *, project: str) -> SecretList:
    """The names of a project's secrets, and who has set them when."""
    return SecretList(items=await web(request).secrets.all(project))


async def put_secret(request: Request, *, project: str, name: str, body: SecretValue) -> SecretView:
    """Store a secret, or put it in the place of an earlier one.

    Sessions that begin from now on get the new value within half a minute.
    """
    return await web(request).secrets.put(project, name, body.value, by=principal(request).name)


async def remove_secret(request: Request, *, project: str, name: str) -> RemovedSecret:
    """Remove a secret. Sessions of jobs that name it fail from then on."""
    await web(request).secrets.remove(project, name)
    return RemovedSecret(project=project, name=name)


async def of_project(request: Request) -> Owned:
    """The project in whose path the secret stands."""
    name = request.path_params["project"]
    await web(request).projects.get(name)
    return Owned(name, ProjectNotFound.of(name))


_BROKER = (502, 503)
#: Names of secrets, too, are no business of those who only look.
_KEEPER = Access(scope="project", role="operator")
ROUTES = [
    TypedRoute(
        "GET",
        "/projects/{project}/secrets",
        list_secrets,
        tag="secrets",
        access=_KEEPER,
        of=of_project,
        problems=(404, *_BROKER),
    ),
    TypedRoute(
        "PUT",
        "/projects/{project}/secrets/{name}",
        put_secret,
        tag="secrets",
        access=_KEEPER,
        of=of_project,
        audits="secret.put",
        problems=(404, 507, *_BROKER),
        max_body=MAX_BODY,
    ),
    TypedRoute(
        "DELETE",
        "/projects/{project}/secrets/{name}",
        remove_secret,
        tag="secrets",
        access=_KEEPER,
        of=of_project,
        audits="secret.remove",
        problems=(404, *_BROKER),
    ),
]
