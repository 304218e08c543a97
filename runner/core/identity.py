"""How sessions identify themselves: by the user agent of every request.

    <the browser's own> TrafficBuster/0.1 (job=<job>; session=<n>; attempt=<n>)

A header of its own would be the plainer way, but does harm. Added to all requests (`extra_http_headers`), it
turns cross-origin scripts, fonts and fetches into preflighted ones, which other origins refuse: the page
breaks. A `Sec-` name, which is never preflighted, is refused by Chromium on sub-resources. On navigations
alone it needs interception, a round trip between browser and runner inside the time to first byte.
"""

from __future__ import annotations

from broker_config.messages import Dispatch

PRODUCT = "TrafficBuster"


def marked(own: str, version: str) -> str:
    """The browser's own user agent with the product: for requests that belong to no session's page, such as
    those of a service worker. `version` is the distribution's; major and minor are told."""
    return f"{own} {PRODUCT}/{'.'.join(version.split('.')[:2])}"


def of_session(user_agent: str, dispatch: Dispatch) -> str:
    """The user agent of one attempt, from the `marked` one."""
    return f"{user_agent} (job={dispatch.job}; session={dispatch.session}; attempt={dispatch.attempt})"
