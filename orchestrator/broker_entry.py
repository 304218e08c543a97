"""How an orchestrator gets into the broker: with which keys, and which certificates it believes."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import msgspec

from broker_config.broker_login import BrokerLogin
from broker_config.connection import servers_of
from broker_config.errors import SettingsError
from broker_config.keyring import Keyring
from broker_config.runner_credential import pinned

from .settings import OrchestratorConfig

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class BrokerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """`keyring` is None where none was named: the shared one on the broker is taken then. `ca` is the text of
    the certificates by which the broker is known."""

    keyring: Keyring | None = None
    login: BrokerLogin | None = None
    tls: ssl.SSLContext | None = None
    ca: str = ""

    @classmethod
    def of(cls, config: OrchestratorConfig, name: str) -> Self:
        """Reads the files that the settings name. Raises `SettingsError`."""
        keyring = Keyring.load(Path(config.keys_dir)) if config.keys_dir else None
        if config.secure and keyring is None:
            raise SettingsError(
                "a broker in operator mode (--secure) takes the keys under which it was set up; name their "
                "directory by --keys"
            )
        ca = _text(config.nats_ca) if config.nats_ca else ""
        # The certificate is made out to the name by which others know this machine.
        here = all((urlsplit(url).hostname or "") in _LOOPBACK for url in servers_of(config.nats))
        return cls(
            keyring=keyring,
            login=BrokerLogin.of_orchestrator(keyring, name) if keyring and config.secure else None,
            tls=pinned(ca, check_name=not here) if ca else None,
            ca=ca,
        )


def _text(path: str) -> str:
    try:
        return Path(path).read_text("ascii")
    except OSError as e:
        raise SettingsError(f"the broker's certificate {path} cannot be read: {e.strerror or e}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"the broker's certificate {path} is not PEM") from None
