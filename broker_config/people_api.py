"""Bodies of `/users`, `/projects`, `/tokens`, `/login` and `/me`: part of the contract, as `api`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .people import ApiToken, Count, Project, Quotas, Role, User

Password = Annotated[str, Meta(min_length=12, max_length=1024)]
#: What may be tried as a name or a password.
Tried = Annotated[str, Meta(max_length=1024)]
TokenName = Annotated[str, Meta(min_length=1, max_length=100)]


class UserView(msgspec.Struct, frozen=True, kw_only=True):
    """A user as others see it. `login` is how they come in: by password, by the OpenID provider, or only with
    tokens that an admin makes for them."""

    name: str
    role: Role
    created_at: float
    disabled: bool = False
    login: list[Literal["password", "oidc"]] = []
    projects: dict[str, Role] = {}


class UserList(msgspec.Struct, frozen=True, kw_only=True):
    """By name."""

    items: list[UserView]


class UserNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /users`. Without a password nobody can log in as this user. `projects` are the roles in them."""

    name: str
    role: Role = "viewer"
    password: Password | None = None
    projects: dict[str, Role] = {}
    #: Issuer and subject of the OpenID provider, with a `|` between them.
    oidc: Annotated[str, Meta(max_length=600)] = ""


class UserChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`PATCH /users/<name>`: what is given changes. To disable a user ends all logins and tokens for good."""

    role: Role | None = None
    disabled: bool | None = None
    oidc: Annotated[str, Meta(max_length=600)] | None = None


class PasswordChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /users/<name>/password`. All logins and tokens of the user end. `current` is needed by
    who is no admin."""

    password: Password
    current: Tried = ""


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """A token without its secret. `projects` None is all of its owner's."""

    id: str
    name: str
    owner: str
    role: Role
    projects: list[str] | None = None
    created_at: float = 0.0
    expires_at: float | None = None
    last_used_at: float | None = None
    is_local: bool = False


class TokenList(msgspec.Struct, frozen=True, kw_only=True):
    """Newest first."""

    items: list[TokenView]


class TokenNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /tokens`. `role` and `projects` narrow what its owner may; `life` in seconds, None is for ever.
    An admin may make one for another user."""

    name: TokenName
    role: Role = "admin"
    projects: Annotated[list[str], Meta(max_length=200)] | None = None
    life: Annotated[float, Meta(ge=60, le=10 * 366 * 86_400)] | None = None
    owner: str = ""


class TokenMade(msgspec.Struct, frozen=True, kw_only=True):
    """The only answer with the secret in it."""

    token: TokenView
    secret: str


class ProjectView(msgspec.Struct, frozen=True, kw_only=True):
    """`role` is that of the one who asks. Members are shown to those who may change them."""

    name: str
    created_at: float
    role: Role
    quotas: Quotas
    members: dict[str, Role] = {}


class ProjectList(msgspec.Struct, frozen=True, kw_only=True):
    """Those that the one who asks may see, by name."""

    items: list[ProjectView]


class ProjectNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /projects`."""

    name: str
    quotas: Quotas = Quotas()


class QuotaChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`PATCH /projects/<name>`: what is given changes; null is no bound."""

    jobs: Count | msgspec.UnsetType | None = msgspec.UNSET
    vus: Count | msgspec.UnsetType | None = msgspec.UNSET
    sessions: Count | msgspec.UnsetType | None = msgspec.UNSET
    targets: Count | msgspec.UnsetType | None = msgspec.UNSET
    schedules: Count | msgspec.UnsetType | None = msgspec.UNSET
    egress: bool | msgspec.UnsetType = msgspec.UNSET
    scripts: bool | msgspec.UnsetType = msgspec.UNSET

    @property
    def given(self) -> dict[str, int | bool | None]:
        return {f: v for f in self.__struct_fields__ if (v := getattr(self, f)) is not msgspec.UNSET}


class MemberRole(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`PUT /projects/<name>/members/<user>`."""

    role: Role


class LoginTry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /login`. A browser's login is kept in a cookie that its pages cannot read; that of a command line
    is in the answer, as a secret to be shown as a bearer's."""

    name: Tried
    password: Tried
    keep: Literal["cookie", "bearer"] = "cookie"


class LoginMade(msgspec.Struct, frozen=True, kw_only=True):
    """`secret` is empty where it is in the cookie."""

    name: str
    role: Role
    expires_at: float
    secret: str = ""


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /me`: who asks, and what they may. `projects` are roles by name; with `all_projects` the role
    holds in each."""

    kind: Literal["anonymous", "user", "token", "local"]
    name: str
    role: Role | None
    all_projects: bool
    projects: dict[str, Role]
    #: Ways to log in that this server offers.
    logins: list[Literal["password", "oidc"]] = []


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed or ended, by its name or id."""

    name: str


def user_view(user: User, projects: dict[str, Role]) -> UserView:
    login: list[Literal["password", "oidc"]] = ["password"] if user.password_hash else []
    return UserView(
        name=user.name,
        role=user.role,
        created_at=user.created_at,
        disabled=user.disabled,
        login=[*login, "oidc"] if user.oidc else login,
        projects=projects,
    )


def token_view(token: ApiToken) -> TokenView:
    return TokenView(**{f: getattr(token, f) for f in TokenView.__struct_fields__})


def project_view(project: Project, role: Role, *, whole: bool) -> ProjectView:
    return ProjectView(
        name=project.name,
        created_at=project.created_at,
        role=role,
        quotas=project.quotas,
        members=project.members if whole else {},
    )
