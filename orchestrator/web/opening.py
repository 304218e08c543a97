"""How the web side is opened to others: what the settings say, checked together before anything is served."""

from __future__ import annotations

import socket
import ssl
from typing import NamedTuple

from broker_config.people import Role
from orchestrator.core import exposure
from orchestrator.core.access import ANONYMOUS, Principal
from orchestrator.core.served_names import ServedNames, is_loopback
from orchestrator.settings import OrchestratorConfig

from .rate_limit import RateLimits
from .tls import server_context


class Opening(NamedTuple):
    names: ServedNames
    anonymous: Principal
    rates: RateLimits
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, config: OrchestratorConfig) -> Opening:
        """Raises `SettingsError` that says what to do."""
        tls = server_context(config.tls_cert, config.tls_key)
        own = () if is_loopback(config.host) else (config.host, socket.gethostname())
        names = ServedNames.of(config.public_origins, own)
        exposure.check(
            host=config.host,
            tls=tls is not None,
            insecure=config.insecure,
            anonymous=config.anonymous,
            public_origins=names.origins,
        )
        return cls(
            names,
            as_anonymous(config.anonymous),
            RateLimits(
                api=config.api_limit,
                submits=config.submit_limit,
                sockets=config.socket_limit,
                logins=config.login_limit,
            ),
            tls,
        )


def as_anonymous(role: Role | None) -> Principal:
    """Somebody without a credential who may do this everywhere; None is nothing."""
    if role is None:
        return ANONYMOUS
    return Principal(kind="anonymous", role=role, all_projects=True)
