"""The laws of narrowing: a credential never allows more than its owner may, nor than itself."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from broker_config.people import LOCAL_OWNER, ROLES, ApiToken, Login, Project, Role, User
from orchestrator.core.access import Access, Principal, may, reaches, role_in
from orchestrator.core.principals import IDLE, beyond, memberships, of_login, of_token, of_user

PROJECTS = ("a", "b", "c")
NOW = 1_000.0
roles = st.sampled_from(ROLES)
users = st.builds(User, name=st.just("ada"), role=roles, disabled=st.booleans(), generation=st.integers(0, 2))
projects = st.dictionaries(st.sampled_from(PROJECTS), roles)
tokens = st.builds(
    ApiToken,
    id=st.just("t"),
    name=st.just("test"),
    owner=st.sampled_from(["ada", LOCAL_OWNER]),
    secret_hash=st.just(""),
    role=roles,
    projects=st.none() | st.lists(st.sampled_from(PROJECTS), unique=True),
    expires_at=st.none() | st.sampled_from([NOW - 1, NOW, NOW + 1]),
    generation=st.integers(0, 2),
)
asked = [Access(scope=s, role=r) for s in ("fleet", "project") for r in ROLES]


def allows_no_more(less: Principal, more: Principal) -> bool:
    return all(
        not may(less, access, project) or may(more, access, project)
        for access in asked
        for project in (*PROJECTS, "d", None)
        if access.scope == "project" or project is None
    )


@given(tokens, users, projects)
def test_a_token_allows_no_more_than_its_owner(token: ApiToken, user: User, of: dict[str, Role]) -> None:
    found = of_token(token, user, of, NOW)
    if found is None:
        return
    owner = of_user(user, of) if token.owner == "ada" else of_user(User(name="local", role="admin"), {})
    assert allows_no_more(found, owner)
    # Nor more than it says itself.
    assert found.role is not None
    assert reaches(token.role, found.role)
    for project in (*PROJECTS, "d"):
        have = role_in(found, project)
        assert have is None or reaches(token.role, have)
        assert have is None or token.projects is None or project in token.projects


@given(tokens, users, projects)
def test_a_token_narrowed_to_projects_decides_nothing_about_the_fleet(
    token: ApiToken, user: User, of: dict[str, Role]
) -> None:
    found = of_token(token, user, of, NOW)
    if found is not None and token.projects is not None:
        assert not may(found, Access(scope="fleet", role="operator"))
        assert not found.all_projects


@given(tokens, tokens, users, projects)
def test_one_made_with_another_allows_no_more_than_that(
    parent: ApiToken, made: ApiToken, user: User, of: dict[str, Role]
) -> None:
    made = msgspec.structs.replace(made, owner=parent.owner, generation=parent.generation)
    if beyond(parent, made):
        return
    more, less = of_token(parent, user, of, NOW), of_token(made, user, of, NOW)
    if less is not None:
        assert more is not None  # it does not outlive it
        assert allows_no_more(less, more)


@given(tokens, users, projects)
def test_when_a_token_is_of_no_use(token: ApiToken, user: User, of: dict[str, Role]) -> None:
    expired = token.expires_at is not None and token.expires_at <= NOW
    ended = token.owner == "ada" and (user.disabled or user.generation != token.generation)
    assert (of_token(token, user, of, NOW) is None) is (expired or ended)
    if token.owner == "ada":
        assert of_token(token, None, of, NOW) is None


@given(users, projects, st.floats(0, 3 * IDLE), st.booleans())
def test_when_a_login_has_ended(user: User, of: dict[str, Role], idle: float, bearer: bool) -> None:
    login = Login(
        id="l",
        user="ada",
        secret_hash="",
        created_at=NOW,
        expires_at=NOW + 2 * IDLE,
        generation=1,
        bearer=bearer,
        last_used_at=NOW,
    )
    found = of_login(login, user, of, NOW + idle)
    ends = idle >= 2 * IDLE or (idle > IDLE and not bearer)
    assert (found is None) is (ends or user.disabled or user.generation != 1)
    if found is not None:
        assert found == of_user(user, of, "l")


@given(st.lists(st.tuples(st.sampled_from(["ada", "bob"]), st.sampled_from(PROJECTS), roles)))
def test_memberships_are_those_of_the_projects(given: list[tuple[str, str, Role]]) -> None:
    members: dict[str, dict[str, Role]] = {}
    for user, project, role in given:
        members.setdefault(project, {})[user] = role
    found = memberships(Project(name=p, members=m) for p, m in members.items())
    told = {(p, u, r) for u, of in found.items() for p, r in of.items()}
    assert told == {(p, u, r) for p, m in members.items() for u, r in m.items()}
