"""Settings of an orchestrator."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from broker_config.errors import SettingsError
from broker_config.people import Role
from broker_config.streams import LEASE

from .core.oidc_claims import OidcSettings
from .core.served_names import is_loopback
from .core.target_rules import Grounds


class OrchestratorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds."""

    #: Address of the broker, or several separated by commas.
    nats: str = "nats://127.0.0.1:4222"
    #: Where REST, WebSockets and the pages are served.
    host: str = "127.0.0.1"
    #: 0 takes a free port.
    port: int = 8700
    #: Name in logs and in the leadership key; made up when empty.
    name: str = ""
    #: Copies of each stream: 1 on one broker, 3 on a cluster.
    replicas: int = 1
    #: The lease of a dispatched session: a runner that is silent for longer loses it.
    lease: float = LEASE
    #: Origins that jobs of all projects may go to without proof, such as https://shop.example; they may be in
    #: a private network. `*` allows all. Loopback needs neither where nobody else reaches this orchestrator.
    allowed_origins: list[str] = []
    #: Whom to ask about the traffic, such as https://example.com/traffic or mailto:traffic@example.com: each
    #: request of a session tells it. Empty: nobody is named.
    contact: str = ""
    #: What those may do who bring no credential; above `viewer` only where `host` is loopback.
    anonymous: Role | None = None
    #: Origins by which browsers come that are not the address itself, such as https://tb.example.
    public_origins: list[str] = []
    #: PEM files of the web server's certificate and its key. Without them `host` must be loopback, unless
    #: `insecure` says that something before it speaks TLS, or that the network is trusted.
    tls_cert: str = ""
    tls_key: str = ""
    insecure: bool = False
    #: A minute, by who asks or from where; 0 is no bound: requests to the API, jobs submitted, WebSocket
    #: handshakes, attempts to log in.
    api_limit: int = 6000
    submit_limit: int = 240
    socket_limit: int = 600
    login_limit: int = 5
    #: Where the broker on this machine keeps its streams: a job is not taken on when the disk has no room for
    #: its records. Empty where the broker is elsewhere; its streams' bounds are all that is known then.
    store_dir: str = ""
    #: Directory of the keys that sign sessions and seal secrets; the same for all orchestrators of a fleet.
    #: Empty: one keyring for all of them on the broker, which only trusted machines may reach then.
    keys_dir: str = ""
    #: The broker lets nobody in without a credential (operator mode), under the keys of `keys_dir`. Runners
    #: then need to be invited.
    secure: bool = False
    #: Addresses of the broker that runners are told when they join; empty: `nats`. The host 0.0.0.0 or ::
    #: stands for the one at which they have reached this orchestrator.
    runner_nats: list[str] = []
    #: PEM file of the certificates by which the broker is known, where it talks TLS; empty: the system's. It
    #: is handed to runners that join.
    nats_ca: str = ""
    #: Where the credential `admin.token` is put, with which who can read it is an admin. Empty: nowhere.
    data_dir: str = ""
    #: An OpenID provider whose users may log in.
    oidc: OidcSettings | None = None


def grounds_of(config: OrchestratorConfig) -> Grounds:
    """Where jobs of all projects may go. Loopback is free where only this machine reaches web and broker: it
    is that of some other machine else. Raises `SettingsError`."""
    urls = [*config.nats.split(","), *config.runner_nats, *config.public_origins]
    hosts = [config.host, *map(_host, urls)]
    try:
        return Grounds(config.allowed_origins, loopback_free=all(map(is_loopback, hosts)))
    except ValueError as e:
        raise SettingsError(f"allowed_origins: {e}") from None


def _host(url: str) -> str:
    try:
        return urlsplit(url if "://" in url else f"nats://{url}").hostname or ""
    except ValueError:
        return ""
