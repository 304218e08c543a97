"""How sessions identify themselves: by the user agent of every request.

    <the browser's own> TrafficBuster/0.1 (job=<job>; session=<n>; attempt=<n>)

Requests that the egress gate can see (those that are not inside TLS) have a header too:

    X-TrafficBuster: job=<job>; session=<n>; attempt=<n>

Where the orchestrator names an address to ask about the traffic, both end in `; +<address>`.

The gate adds it below the browser, where it does no harm. Added by the browser (`extra_http_headers`), a
header of its own turns cross-origin scripts, fonts and fetches into preflighted ones, which other origins
refuse: the page breaks. A `Sec-` name, which is never preflighted, is refused by Chromium on sub-resources.
On navigations alone it needs interception, a round trip between browser and runner inside the time to first
byte.
"""

from __future__ import annotations

from broker_config.contact import is_contact
from broker_config.messages import Dispatch

PRODUCT = "TrafficBuster"
HEADER = f"X-{PRODUCT}"


def product(version: str) -> str:
    """Of the distribution's version, major and minor are told."""
    return f"{PRODUCT}/{'.'.join(version.split('.')[:2])}"


def marked(own: str, version: str) -> str:
    """The browser's own user agent with the product: for requests that belong to no session's page, such as
    those of a service worker."""
    return f"{own} {product(version)}"


def attempt(dispatch: Dispatch, contact: str = "") -> str:
    """Which attempt at which session it is, and whom to ask about it. A contact that does not fit a header is
    left out."""
    more = f"; +{contact}" if is_contact(contact) else ""
    return f"job={dispatch.job}; session={dispatch.session}; attempt={dispatch.attempt}{more}"


def of_session(user_agent: str, dispatch: Dispatch, contact: str = "") -> str:
    """The user agent of one attempt, from the `marked` one."""
    return f"{user_agent} ({attempt(dispatch, contact)})"
