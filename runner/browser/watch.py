"""Sees which documents a session's pages open.

The egress gate sees no documents inside TLS: where a job lets pages load resources of other origins, a page
of such an origin could be opened. And what the gate did refuse, it refused to a connection: here it is known
that a page was meant.
"""

from __future__ import annotations

import asyncio

from playwright.async_api import BrowserContext, Error, Frame, Page, Request, Response

from runner.core.egress_policy import EgressPolicy, foreign_document


class Watch:
    """`strayed` is set when a page of another origin than the job's is opened, or was about to be: in any
    page of the context, windows that it opens included; frames inside pages may be foreign. `origin` says
    which."""

    def __init__(self, policy: EgressPolicy) -> None:
        self.strayed = asyncio.Event()
        self.origin = ""
        self._policy = policy

    def over(self, context: BrowserContext) -> None:
        """Watch this context, in which no page is open yet."""
        context.on("page", self._on_page)
        context.on("response", self._on_response)
        context.on("requestfailed", self._on_request)
        if self._policy.third_party != "block":
            # It would be sent: see it as it goes, not when it is answered. Costs a message a request.
            context.on("request", self._on_request)

    def _on_page(self, page: Page) -> None:
        page.on("framenavigated", self._on_navigated)
        self._look(page.url)

    def _on_navigated(self, frame: Frame) -> None:
        if frame.parent_frame is None:
            self._look(frame.url)

    def _on_response(self, response: Response) -> None:
        self._on_request(response.request)

    def _on_request(self, request: Request) -> None:
        if request.is_navigation_request() and _is_main(request):
            self._look(request.url)

    def _look(self, url: str) -> None:
        if not self.strayed.is_set() and (origin := foreign_document(self._policy, url)):
            self.origin = origin
            self.strayed.set()


def _is_main(request: Request) -> bool:
    try:
        return request.frame.parent_frame is None
    except Error:
        return True  # of a window that is only just being opened
