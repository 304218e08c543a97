"""Who may call what, written by hand: nothing here is derived from what the routes declare.

A row says what a path takes; `expected` says what comes of it for somebody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Outcome = Literal["open", "unknown", "refused", "hidden"]
_ORDER = ("viewer", "operator", "admin")


class Rights(NamedTuple):
    """What somebody has been given. A fleet's admin has every project, unless narrowed by a token."""

    fleet: str | None
    projects: Mapping[str, str] = {}
    everywhere: bool = False

    def in_project(self, name: str) -> str | None:
        return self.fleet if self.everywhere else self.projects.get(name)


#: By name; None is nobody whom the web knows. Their project is `shop`; `bank` is somebody else's.
PEOPLE: dict[str, Rights | None] = {
    "anonymous": None,
    "runner": None,
    "outsider": Rights("viewer"),
    "viewer": Rights("viewer", {"shop": "viewer"}),
    "operator": Rights("operator", {"shop": "operator"}),
    "keeper": Rights("viewer", {"shop": "admin"}),
    "admin": Rights("admin", everywhere=True),
}
#: One more, who comes by bearer alone: a token of the admin's, narrowed to looking at one project.
NARROWED = Rights("viewer", {"shop": "viewer"})
OWN, FOREIGN = "shop", "bank"


class Row(NamedTuple):
    """`scope` as the words say: `project` is the role in the project of the object (others do not see that it
    is there), `member` that role in any project, `self` a thing of somebody else's that only admins see.

    In path and body `{project}`, `{job}`, `{artifact}`, `{kill}`, `{token}` are those of the place. `hidden`
    is what those are told who may not know of the object. What a call that is allowed answers does not
    matter: bodies are such that little comes of it.
    """

    scope: Literal["public", "credential", "known", "fleet", "member", "project", "self"]
    role: str
    path: str
    body: Any = None
    hidden: str = ""
    #: What has to be made before, and mended after.
    makes: Literal["", "kill", "token"] = ""
    mends: Literal["", "kill", "login"] = ""


SPEC = {"targets": [{"url": "http://127.0.0.1:9/"}], "sessions": 1}
_JOB = "there is no job {job}; `tb jobs list` shows those that there are"
_PROJECT = "there is no project '{project}'; `tb projects list` shows those that there are"


def _of_job(role: str, tail: str, body: Any = None) -> list[Row]:
    return [Row("project", role, f"/jobs/{{job}}{tail}", body, _JOB)]


def _of_project(role: str, path: str, body: Any = None) -> list[Row]:
    return [Row("project", role, path, body, _PROJECT)]


def _fleet(role: str, path: str, body: Any = None) -> list[Row]:
    return [Row("fleet", role, path, body)]


def _open(path: str, body: Any = None) -> list[Row]:
    return [Row("public", "", path, body)]


#: By method and path of the route.
ROWS: dict[str, list[Row]] = {
    "GET /health": _open("/health"),
    "GET /ready": _open("/ready"),
    "GET /openapi.json": _open("/openapi.json"),
    "GET /job-schema": _open("/job-schema"),
    "POST /login": _open("/login", {}),
    "POST /logout": [Row("public", "", "/logout", mends="login")],
    "GET /oidc/start": _open("/oidc/start"),
    "GET /oidc/callback": _open("/oidc/callback"),
    "POST /runner-join": _open("/runner-join", {}),
    "GET /me": [Row("credential", "", "/me")],
    "POST /socket-tickets": [Row("known", "", "/socket-tickets")],
    # --- jobs
    "POST /jobs": _of_project("operator", "/jobs?project={project}", SPEC),
    "POST /jobs/plan": _of_project("operator", "/jobs/plan?project={project}", SPEC),
    "GET /jobs": [Row("member", "viewer", "/jobs")],
    "GET /jobs/{id}": _of_job("viewer", ""),
    "GET /jobs/{id}/detail": _of_job("viewer", "/detail"),
    "GET /jobs/{id}/audit": _of_job("viewer", "/audit"),
    "GET /jobs/{id}/sessions": _of_job("viewer", "/sessions"),
    "GET /jobs/{id}/artifacts": _of_job("viewer", "/artifacts"),
    "GET /jobs/{id}/report": [
        row for f in ("html", "csv") for row in _of_job("viewer", f"/report?format={f}")
    ],
    "POST /jobs/{id}/pause": _of_job("operator", "/pause"),
    "POST /jobs/{id}/resume": _of_job("operator", "/resume"),
    "POST /jobs/{id}/cancel": _of_job("operator", "/cancel"),
    "POST /jobs/{id}/retry": _of_job("operator", "/retry"),
    "GET /artifacts/{name:path}": [
        Row(
            "project",
            "viewer",
            "/artifacts/{artifact}",
            None,
            "there is no artifact {artifact}; it was not kept, or its time is over",
        )
    ],
    # --- the fleet
    "GET /runners": _fleet("viewer", "/runners"),
    "GET /runners/available-platforms": _fleet("viewer", "/runners/available-platforms"),
    "GET /runners/{id}": _fleet("viewer", "/runners/nobody"),
    "POST /runners/{id}/revoke": _fleet("admin", "/runners/nobody/revoke"),
    "POST /runner-invites": _fleet("admin", "/runner-invites", []),
    "GET /runner-invites": _fleet("admin", "/runner-invites"),
    "DELETE /runner-invites/{id}": _fleet("admin", "/runner-invites/nothing"),
    "GET /proxies": _fleet("viewer", "/proxies"),
    "GET /proxies/{name}": _fleet("viewer", "/proxies/nothing"),
    "POST /proxies/{name}/test": _fleet("operator", "/proxies/nothing/test", []),
    "PUT /proxies/{name}": _fleet("admin", "/proxies/nothing", {}),
    "POST /proxies/{name}/lines": _fleet("admin", "/proxies/nothing/lines", {}),
    "PATCH /proxies/{name}": _fleet("admin", "/proxies/nothing", {}),
    "DELETE /proxies/{name}": _fleet("admin", "/proxies/nothing"),
    "GET /audit": _fleet("admin", "/audit"),
    "GET /audit/tail": _fleet("admin", "/audit/tail"),
    "GET /audit/verify": _fleet("admin", "/audit/verify"),
    "GET /audit/export": _fleet("admin", "/audit/export"),
    # --- people
    "GET /users": _fleet("admin", "/users"),
    "POST /users": _fleet("admin", "/users", {}),
    "GET /users/{name}": _fleet("admin", "/users/victim"),
    "PATCH /users/{name}": _fleet("admin", "/users/victim", {}),
    "DELETE /users/{name}": _fleet("admin", "/users/nobody"),
    "POST /users/{name}/password": [
        Row(
            "self",
            "",
            "/users/victim/password",
            {"password": "another good one"},
            "there is no user 'victim'; `tb users list` shows those that there are",
        )
    ],
    "GET /tokens": [Row("known", "", "/tokens"), Row("known", "", "/tokens?owner=victim")],
    "POST /tokens": [
        Row("known", "", "/tokens", []),
        Row("fleet", "admin", "/tokens", {"name": "of another", "role": "viewer", "owner": "victim"}),
        Row(
            "project",
            "viewer",
            "/tokens",
            {"name": "narrowed", "role": "viewer", "projects": ["{project}"]},
            _PROJECT,
        ),
    ],
    "DELETE /tokens/{id}": [
        Row(
            "self",
            "",
            "/tokens/{token}",
            None,
            "there is no token '{token}'; `tb tokens list` shows those that there are",
            makes="token",
        )
    ],
    # --- projects
    "GET /projects": [Row("known", "", "/projects")],
    "POST /projects": _fleet("admin", "/projects", {}),
    "GET /projects/{name}": _of_project("viewer", "/projects/{project}"),
    "PATCH /projects/{name}": _fleet("admin", "/projects/{project}", {}),
    "DELETE /projects/{name}": _fleet("admin", "/projects/nothing"),
    "PUT /projects/{name}/members/{user}": _of_project(
        "admin", "/projects/{project}/members/victim", {"role": "viewer"}
    ),
    "DELETE /projects/{name}/members/{user}": _of_project("admin", "/projects/{project}/members/victim"),
    "GET /projects/{project}/secrets": _of_project("operator", "/projects/{project}/secrets"),
    "PUT /projects/{project}/secrets/{name}": _of_project(
        "operator", "/projects/{project}/secrets/NAME", {"value": "a secret of some length"}
    ),
    "DELETE /projects/{project}/secrets/{name}": _of_project("operator", "/projects/{project}/secrets/NAME"),
    "GET /projects/{project}/targets": _of_project("viewer", "/projects/{project}/targets"),
    "POST /projects/{project}/targets": _of_project("operator", "/projects/{project}/targets", []),
    "GET /projects/{project}/targets/{target}": _of_project("viewer", "/projects/{project}/targets/none"),
    "PATCH /projects/{project}/targets/{target}": _of_project(
        "operator", "/projects/{project}/targets/none", {}
    ),
    "POST /projects/{project}/targets/{target}/verify": _of_project(
        "operator", "/projects/{project}/targets/none/verify", []
    ),
    "DELETE /projects/{project}/targets/{target}": _of_project(
        "operator", "/projects/{project}/targets/none"
    ),
    "PUT /projects/{project}/targets/{target}/grant": _fleet(
        "admin", "/projects/{project}/targets/none/grant", []
    ),
    "DELETE /projects/{project}/targets/{target}/grant": _fleet(
        "admin", "/projects/{project}/targets/none/grant"
    ),
    # --- kills
    "GET /kills": [Row("known", "", "/kills")],
    "POST /kills": [
        Row("project", "operator", "/kills", {"job": "{job}"}, _JOB, mends="kill"),
        Row("project", "admin", "/kills", {"project": "{project}"}, _PROJECT, mends="kill"),
        Row("fleet", "admin", "/kills", {"fleet": True}, mends="kill"),
    ],
    "DELETE /kills/{id}": [
        Row(
            "project",
            "operator",
            "/kills/{kill}",
            None,
            "there is no kill '{kill}'; `tb kill --list` shows those that hold",
            makes="kill",
            mends="kill",
        )
    ],
}


def expected(row: Row, who: Rights | None, project: str, *, with_credential: bool) -> Outcome:
    if row.scope == "public":
        return "open"
    if row.scope == "credential":
        return "open" if who is not None or not with_credential else "unknown"
    if who is None:
        return "unknown"
    if row.scope == "known":
        return "open"
    if row.scope == "fleet":
        return "open" if _reaches(who.fleet, row.role) else "refused"
    if row.scope == "self":
        return "open" if _reaches(who.fleet, "admin") else "hidden"
    if row.scope == "member":
        some = [who.fleet] if who.everywhere else list(who.projects.values())
        return "open" if any(_reaches(r, row.role) for r in some) else "refused"
    have = who.in_project(project)
    if have is None:
        return "hidden"
    return "open" if _reaches(have, row.role) else "refused"


def _reaches(have: str | None, need: str) -> bool:
    return have is not None and _ORDER.index(have) >= _ORDER.index(need)
