"""`/projects`: what belongs together, its members and its quotas."""

from __future__ import annotations

from starlette.requests import Request

from broker_config.errors import ProjectNotFound
from broker_config.people import Project
from broker_config.people_api import (
    Done,
    MemberRole,
    ProjectList,
    ProjectNew,
    ProjectView,
    QuotaChange,
    project_view,
)
from orchestrator.core.access import KNOWN, Access, reaches, role_in

from .access_check import Owned
from .audit_trail import about
from .authentication import principal
from .people import ADMIN
from .people_state import people
from .typed_route import Reply, TypedRoute
from .web_state import web

VIEWER = Access(scope="project", role="viewer")
KEEPER = Access(scope="project", role="admin")


async def of_project(request: Request) -> Owned:
    """The project `{name}` itself."""
    name = request.path_params["name"]
    await people(request).projects.get(name)
    return Owned(name, ProjectNotFound.of(name))


async def list_projects(request: Request) -> ProjectList:
    """The projects that one may see, by name."""
    found = await people(request).projects.list()
    return ProjectList(items=[v for p in found if (v := _view(request, p)) is not None])


async def add_project(request: Request, *, body: ProjectNew) -> Reply[ProjectView]:
    """Make a project, with its quotas; nobody is a member yet."""
    about(request, object=body.name, project=body.name)
    made = await people(request).projects.add(body.name, body.quotas)
    return Reply(project_view(made, "admin", whole=True), 201)


async def get_project(request: Request, *, name: str) -> ProjectView:
    """A project with its quotas; its members for those who may change them."""
    return _seen(request, await people(request).projects.get(name))


async def change_project(request: Request, *, name: str, body: QuotaChange) -> ProjectView:
    """Change quotas: what is given, and null for no bound. Jobs that run are not touched."""
    return _seen(request, await people(request).projects.set_quotas(name, body.given))


async def remove_project(request: Request, *, name: str) -> Done:
    """Remove a project with its secrets and targets. Its jobs stay, and only admins of the fleet see them."""
    await people(request).projects.remove(name)
    await web(request).secrets.forget(name)
    await web(request).targets.store.forget(name)
    return Done(name=name)


async def set_member(request: Request, *, name: str, user: str, body: MemberRole) -> ProjectView:
    """Give a user a role in the project."""
    about(request, detail=f"role {body.role}")
    return _seen(request, await people(request).projects.set_member(name, user, body.role))


async def remove_member(request: Request, *, name: str, user: str) -> ProjectView:
    """Take a user out of the project; without effect on one who is not in it."""
    return _seen(request, await people(request).projects.set_member(name, user, None))


def _view(request: Request, project: Project) -> ProjectView | None:
    role = role_in(principal(request), project.name)
    return None if role is None else project_view(project, role, whole=reaches(role, "admin"))


def _seen(request: Request, project: Project) -> ProjectView:
    # Who takes themselves out has no role any more.
    return _view(request, project) or project_view(project, "viewer", whole=False)


_BROKER = (502, 503)
ROUTES = [
    TypedRoute("GET", "/projects", list_projects, tag="projects", access=KNOWN, problems=_BROKER),
    TypedRoute(
        "POST",
        "/projects",
        add_project,
        tag="projects",
        access=ADMIN,
        audits="project.add",
        statuses={201: "Made."},
        problems=(409, 507, *_BROKER),
    ),
    TypedRoute(
        "GET",
        "/projects/{name}",
        get_project,
        tag="projects",
        access=VIEWER,
        of=of_project,
        problems=(404, *_BROKER),
    ),
    TypedRoute(
        "PATCH",
        "/projects/{name}",
        change_project,
        tag="projects",
        access=ADMIN,
        audits="project.change",
        problems=(404, 409, 507, *_BROKER),
    ),
    TypedRoute(
        "DELETE",
        "/projects/{name}",
        remove_project,
        tag="projects",
        access=ADMIN,
        audits="project.remove",
        problems=(404, 409, 422, 507, *_BROKER),
    ),
    TypedRoute(
        "PUT",
        "/projects/{name}/members/{user}",
        set_member,
        tag="projects",
        access=KEEPER,
        audits="project.member",
        of=of_project,
        problems=(404, 409, 507, *_BROKER),
    ),
    TypedRoute(
        "DELETE",
        "/projects/{name}/members/{user}",
        remove_member,
        tag="projects",
        access=KEEPER,
        audits="project.member",
        of=of_project,
        problems=(404, 409, 507, *_BROKER),
    ),
]
