"""People, projects and their credentials, as the bucket `people` keeps them.

Keys: `user.<name>`, `project.<name>`, `token.<id>`, `login.<id>`. Of a token or a login only a hash of its
secret is kept; what is shown once is `tb_<id>_<secret>`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .subjects import token

#: Each may what those before it may. `viewer` looks, `operator` runs jobs, `admin` decides who may what.
Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
#: The project of jobs that name none; it is always there.
DEFAULT_PROJECT = "default"

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Count = Annotated[int, Meta(ge=0)]


class Quotas(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Bounds of a project; None is no bound."""

    #: Jobs that are not finished.
    jobs: Count | None = None
    #: Sessions at once of one job, and sessions of one job.
    vus: Count | None = None
    sessions: Count | None = None
    #: Targets of one job.
    targets: Count | None = None
    #: Whether its jobs may leave through proxies, bring scripts of their own, be run on a schedule.
    egress: bool = True
    scripts: bool = True
    schedules: Count | None = None


class User(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`role` holds for the fleet and, where it is `admin`, in all projects; in a project the membership
    counts else."""

    name: Name
    role: Role = "viewer"
    created_at: float = 0.0
    #: argon2id, with its parameters; empty: no login by password.
    password_hash: str = ""
    disabled: bool = False
    #: Issuer and subject of the OpenID provider that vouches for the user.
    oidc: str = ""
    #: Grows with each change that ends what was handed out before: logins and tokens of an earlier one fail.
    generation: int = 0


class Project(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    name: Name
    created_at: float = 0.0
    members: dict[str, Role] = {}
    quotas: Quotas = Quotas()


class ApiToken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`role` and `projects` narrow what its owner may; None is all projects of the owner."""

    id: str
    name: str
    owner: str
    secret_hash: str
    role: Role = "admin"
    projects: list[str] | None = None
    created_at: float = 0.0
    expires_at: float | None = None
    #: About a minute exact.
    last_used_at: float | None = None
    generation: int = 0
    #: The one that an orchestrator has put beside its data.
    is_local: bool = False
    #: Id of the token with which it was made: it ends with that one.
    parent: str = ""


class Login(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session of a browser, by a cookie."""

    id: str
    user: str
    secret_hash: str
    created_at: float
    expires_at: float
    address: str = ""
    user_agent: str = ""
    generation: int = 0
    #: That of a command line rather than of a browser: it comes as a bearer's, not in a cookie, and does not
    #: end by being idle.
    bearer: bool = False
    #: About a minute exact.
    last_used_at: float = 0.0


#: Owner of the credentials that orchestrators put beside their data; no user can have this name.
LOCAL_OWNER = "local"
RESERVED_NAMES = frozenset({LOCAL_OWNER, "anonymous"})


def user_key(name: str) -> str:
    return f"user.{token(name, 'user name')}"


def project_key(name: str) -> str:
    return f"project.{token(name, 'project name')}"


def token_key(id: str) -> str:
    return f"token.{token(id, 'token id')}"


def login_key(id: str) -> str:
    return f"login.{token(id, 'login id')}"
