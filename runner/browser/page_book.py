"""What is seen of a session's pages from outside: status, counts and failures, page by page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import ConsoleMessage, Error, Frame, Page, Request, Response

from broker_config.messages import ErrorInfo, Measures, PageMeasures

from .page_script import read_measures

#: Characters of an address that are reported.
MAX_URL = 300


class PageTally:
    """One page (one document, redirects and replacements before it included). Mutable."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.status: int | None = None
        self.requests = 0
        self.failed = 0
        self.console = 0
        #: The egress gate answered in place of the site.
        self.from_gate = False
        #: What the page's script read last.
        self.read: Mapping[str, Any] = {}

    def measures(self) -> Measures:
        return read_measures(
            self.read,
            Measures(
                http_status=None if self.from_gate else self.status,
                requests=self.requests,
                failed_requests=self.failed,
                console_errors=self.console,
            ),
        )

    def record(self, mask: Callable[[str], str] = str) -> PageMeasures:
        """`mask` takes secrets out of the address, before it is cut."""
        return PageMeasures(url=_plain(mask(self.url)), measures=self.measures())


class PageBook:
    """`pages` holds a tally for each page, the newest last. While `turning` is True, the answer to a new
    navigation begins a new page; else it belongs to the page that is open.

    `navigating` is True from the beginning of a navigation until its page has loaded. `explain` tells why the
    egress gate could not reach the origin of an address, where that is so.
    """

    def __init__(self, url: str, explain: Callable[[str], ErrorInfo | None] = lambda url: None) -> None:
        self.pages = [PageTally(url)]
        self.turning = False
        self.navigating = True
        self.request_failure: str | None = None
        self.crashed = False
        self.closed = False
        self._page: Page | None = None
        self._explain = explain
        self._answer_of_gate: ErrorInfo | None = None
        self._lost = ""

    @property
    def current(self) -> PageTally:
        return self.pages[-1]

    def why_not(self) -> ErrorInfo | None:
        """Why the main document could not be had, where the egress gate knows it."""
        if self._answer_of_gate is not None:
            return self._answer_of_gate
        lost = self._lost or (self.current.url if self.navigating else "")
        return self._explain(lost) if lost else None

    def listen(self, page: Page) -> None:
        # Of all events only these: each that is listened to costs a message from the driver.
        self._page = page
        page.on("response", self._on_response)
        page.on("requestfailed", self._on_request_failed)
        page.on("console", self._on_console)
        page.on("pageerror", self._on_page_error)
        page.on("crash", self._on_crash)
        page.on("close", self._on_close)

    def is_main(self, request: Request) -> bool:
        """Whether the request is for the page's own document."""
        page = self._page
        return page is not None and request.is_navigation_request() and request.frame == page.main_frame

    def is_main_frame(self, frame: Frame) -> bool:
        return self._page is not None and frame == self._page.main_frame

    def _on_response(self, response: Response) -> None:
        request = response.request
        main = self.is_main(request)
        if main and self.turning and request.redirected_from is None:
            self.pages.append(PageTally(response.url))
        self.current.requests += 1
        if response.status >= 400:
            self.current.failed += 1
        if main:
            self.current.status = response.status
            self.current.url = response.url
            self._lost = ""
            self._answer_of_gate = self._explain(response.url) if response.status >= 400 else None
            self.current.from_gate = self._answer_of_gate is not None

    def _on_request_failed(self, request: Request) -> None:
        self.current.requests += 1
        self.current.failed += 1
        if self.is_main(request):
            self._lost = request.url
            if self.navigating:
                self.request_failure = request.failure

    def _on_console(self, message: ConsoleMessage) -> None:
        # Chromium also logs each failed load here; it counts as a failed request already.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.current.console += 1

    def _on_page_error(self, _: Error) -> None:
        self.current.console += 1

    def _on_crash(self, _: Page) -> None:
        self.crashed = True

    def _on_close(self, _: Page) -> None:
        self.closed = True


def _plain(url: str) -> str:
    """Without query and fragment, which may hold what is nobody's business."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}{parts.path}"[:MAX_URL]
