"""What happens to proxies: told once each, to whoever reports it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

import msgspec

log = logging.getLogger(__name__)


class EgressEvent(msgspec.Struct, frozen=True, kw_only=True):
    """`proxy` is without credentials; "" for `no_proxy_left`. The session is the one that noticed."""

    kind: Literal["proxy_down", "proxy_up", "no_proxy_left"]
    proxy: str
    reason: str = ""
    job: str = ""
    session: int = 0
    attempt: int = 1

    def __str__(self) -> str:
        what = self.kind.replace("_", " ") + (f" {self.proxy}" if self.proxy else "")
        return f"{what}: {self.reason}" if self.reason else what


#: Must not block and not raise.
OnEvent = Callable[[EgressEvent], None]


def log_event(event: EgressEvent) -> None:
    """For who has nobody to tell."""
    log.warning("%s", event)
