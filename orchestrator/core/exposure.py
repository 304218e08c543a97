"""Whether the web side may be opened in the way that the settings want it."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from broker_config.errors import SettingsError
from broker_config.people import Role

from .served_names import is_loopback


def check(
    *, host: str, tls: bool, insecure: bool, anonymous: Role | None, public_origins: Collection[str] = ()
) -> None:
    """Raises `SettingsError` that says what to do."""
    shown = next((o for o in public_origins if not is_loopback(urlsplit(o).hostname or "")), host)
    if is_loopback(shown):
        return
    if not is_loopback(host) and not tls and not insecure:
        raise SettingsError(
            f"host {host!r} is reached from other machines, and there is no TLS: credentials and results "
            "would pass in clear text. Give --tls-cert and --tls-key (PEM files), or --insecure where "
            "something before it speaks TLS or the network is trusted; or --host 127.0.0.1"
        )
    if anonymous not in (None, "viewer"):
        raise SettingsError(
            f"anonymous {anonymous!r} would let anybody who reaches {shown!r} run traffic; other machines "
            "get `--anonymous viewer` at most. Make users (`tb users add`) or tokens (`tb tokens create`) "
            "instead"
        )
