"""The broker that `tb up` starts: open on loopback, or letting in nobody without a credential."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from broker_config.embedded_cluster import EmbeddedCluster
from broker_config.embedded_server import EmbeddedServer
from broker_config.errors import SettingsError
from broker_config.keyring import Keyring
from broker_config.operator_mode import broker_accounts
from broker_config.server_config import Tls

from .settings import Settings

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class BrokerPlan(NamedTuple):
    """How the broker is to run."""

    host: str
    secure: bool
    tls: Tls | None

    @classmethod
    def of(cls, settings: Settings) -> BrokerPlan:
        """Reached from elsewhere it is secure, and talks TLS. Raises `SettingsError`."""
        here = settings.nats_host in _LOOPBACK
        tls = None
        if not here and settings.tls_cert:
            tls = Tls(
                cert_file=str(Path(settings.tls_cert).absolute()),
                key_file=str(Path(settings.tls_key).absolute()),
            )
        elif not here and not settings.insecure:
            raise SettingsError(
                f"--nats-host {settings.nats_host} lets other machines reach the broker, which takes TLS "
                "(--tls-cert and --tls-key), or --insecure where the network is trusted"
            )
        return cls(host=settings.nats_host, secure=settings.secure or not here, tls=tls)


def broker(
    plan: BrokerPlan, settings: Settings, keyring: Keyring, data_dir: Path, say: Callable[[str], None]
) -> EmbeddedServer | EmbeddedCluster:
    accounts = broker_accounts(keyring) if plan.secure else None
    port = settings.nats_port
    if settings.cluster == 1:
        at = data_dir / "nats"
        _tell_of_others(at, plan, keyring, say)
        return EmbeddedServer(at, port=port, on_event=say, host=plan.host, accounts=accounts, tls=plan.tls)
    # Beside the single node's directory: neither can take over what the other has stored.
    at = data_dir / "nats-cluster"
    _tell_of_others(at / "node-1", plan, keyring, say)
    return EmbeddedCluster(at, port=port, on_event=say, host=plan.host, accounts=accounts, tls=plan.tls)


def _tell_of_others(at: Path, plan: BrokerPlan, keyring: Keyring, say: Callable[[str], None]) -> None:
    """An open broker and a secure one keep their streams apart: what the other has stored is not seen."""
    stored = at / "jetstream"
    own, other = "$G", keyring.public("app_account")
    if plan.secure:
        own, other = other, own
    if (stored / other / "streams").is_dir() and not (stored / own / "streams").is_dir():
        how = "without --secure" if plan.secure else "with --secure"
        say(f"jobs of before are not seen now: they were stored {how}, and are there again {how}")
