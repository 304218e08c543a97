"""What happens to proxies: told once each, to whoever reports it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec


class EgressEvent(msgspec.Struct, frozen=True, kw_only=True):
    """`proxy` is without credentials; "" for `no_proxy_left`. The session is the one that noticed."""

    kind: Literal["proxy_down", "proxy_up", "no_proxy_left"]
    proxy: str
    reason: str = ""
    job: str = ""
    session: int = 0
    attempt: int = 1


#: Must not block and not raise.
OnEvent = Callable[[EgressEvent], None]
