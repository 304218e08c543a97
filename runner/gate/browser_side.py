"""What browsers must be told so that nothing passes by the gate.

A context's `proxy` takes care of what pages load. Beside that browsers look up names, speak UDP, prefer
direct ways to loopback and fall back to direct ones.
"""

from __future__ import annotations

from typing import Any

from .lease import Lease

#: For browsers of the Chromium kind. A name that is looked up by the browser itself is a packet abroad: TURN
#: servers of WebRTC are, in spite of the policy. Only one `--host-resolver-rules` counts.
CHROMIUM_FLAGS = (
    "--disable-quic",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    # The same, as full browsers call it.
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)

_FIREFOX_PREFS: dict[str, Any] = {
    "network.proxy.allow_hijacking_localhost": True,
    "network.proxy.no_proxies_on": "",
    "network.proxy.failover_direct": False,
    "network.proxy.allow_bypass": False,
    "network.proxy.type": 1,
    "network.dns.disablePrefetch": True,
    "network.dns.disablePrefetchFromHTTPS": True,
    "network.http.http3.enable": False,
    "network.trr.mode": 5,
    "media.peerconnection.ice.proxy_only": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}


def firefox_prefs(wall: Lease) -> dict[str, Any]:
    """For `firefox_user_prefs`. What belongs to no context (its own updates and lists) goes to `wall`, the
    lease of an empty policy; Playwright's `proxy` of `launch` does not reach that."""
    host, _, port = wall.proxy_url.removeprefix("http://").rpartition(":")
    own: dict[str, Any] = {}
    for kind in ("http", "ssl"):
        own[f"network.proxy.{kind}"] = host
        own[f"network.proxy.{kind}_port"] = int(port)
    return {**_FIREFOX_PREFS, **own}


def context_proxy(lease: Lease) -> dict[str, str]:
    """The `proxy` of Playwright's `new_context`, loopback included. Chromium takes it in `launch` too: with
    the lease of an empty policy it walls in what belongs to no context."""
    return {"server": lease.proxy_url, "bypass": "<-loopback>"}
