"""The OpenID provider of the settings, as the orchestrator takes it."""

from __future__ import annotations

from broker_config.errors import SettingsError
from broker_config.people import ROLES, Role
from orchestrator.core.oidc_claims import OidcSettings

from .settings import Settings


def oidc_of(settings: Settings) -> OidcSettings | None:
    """None where no provider is named. Raises `SettingsError`."""
    if not settings.oidc_issuer:
        return None
    if not settings.oidc_client_id:
        raise SettingsError("oidc_issuer is given without oidc_client_id; give both, or none")
    return OidcSettings(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        secret_file=settings.oidc_secret_file,
        name_claim=settings.oidc_name_claim,
        role_claim=settings.oidc_role_claim,
        roles=dict(_role(text) for text in settings.oidc_roles),
    )


def _role(text: str) -> tuple[str, Role]:
    value, sep, role = text.rpartition("=")
    if not sep or not value or role not in ROLES:
        raise SettingsError(f"oidc_roles: {text!r} is not allowed; write value=role, role {', '.join(ROLES)}")
    return value, role
