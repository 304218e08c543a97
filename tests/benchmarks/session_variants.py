"""Ways of making the same session cheaper, to be compared by `session_cost`.

The flow: a fresh context, a page of 256 KB, scroll twice, a click on a link to a second such page, close.
Each class does it in a way of its own; `session` raises where it does not come to its end.
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from playwright.async_api import Browser, Page, Request, async_playwright

from broker_config.journey import Journey, Locator, Step
from broker_config.messages import Dispatch
from broker_config.platform import this_system
from runner.browser.executor import BrowserExecutor
from runner.browser.finder import installed

from .devtools import DevTools

SCROLL = "scrollBy({top: 600, behavior: 'instant'})"
AIM = """() => {
  const a = document.querySelector('nav a'), box = a.getClientRects()[0];
  const x = box.x + box.width / 2, y = box.y + box.height / 2;
  return a.contains(document.elementFromPoint(x, y)) ? [x, y] : null;
}"""
PAINTED = "new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
)


class Plain:
    """Playwright as one writes it: a locator's click."""

    browsers = 1
    arguments: ClassVar[list[str]] = []
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, url: str) -> None:
        self._url = url
        self._turn = 0

    async def start(self) -> None:
        playwright = await async_playwright().start()
        path = installed(["chromium"])[0].path
        launch = playwright.chromium.launch
        self._browsers: list[Browser] = [
            await launch(executable_path=path, args=self.arguments) for _ in range(self.browsers)
        ]

    async def session(self, number: int) -> None:
        self._turn += 1
        context = await self._browsers[self._turn % self.browsers].new_context(**self.options)
        page = await context.new_page()
        self.listen(page)
        await page.goto(self._url, wait_until="load")
        await self.scroll(page)
        async with page.expect_navigation(wait_until="load"):
            await self.click(page)
        if not page.url.endswith("/second"):
            raise SystemExit("a session failed")
        await self.leave(page)
        await context.close()

    def listen(self, page: Page) -> None:
        pass

    async def scroll(self, page: Page) -> None:
        await page.evaluate(SCROLL)
        await page.evaluate(SCROLL)

    async def click(self, page: Page) -> None:
        await page.get_by_role("link", name="Next").click()

    async def leave(self, page: Page) -> None:
        pass


class Mouse(Plain):
    """The mouse, where the link is: no selector engine in the page."""

    async def click(self, page: Page) -> None:
        await page.mouse.click(*await page.evaluate(AIM))


class Css(Plain):
    """A locator's click by CSS: the engine in the page, but no look for roles."""

    async def click(self, page: Page) -> None:
        await page.locator("nav a").click()


class Handle(Plain):
    """An element handle's click: waits as a locator does, with no engine to find the element."""

    async def click(self, page: Page) -> None:
        handle = await page.evaluate_handle("document.querySelector('nav a')")
        element = handle.as_element()
        assert element is not None
        await element.click()


class Called(Plain):
    """The page's own `click()`: no trusted event, for comparison only."""

    async def click(self, page: Page) -> None:
        await page.evaluate("document.querySelector('nav a').click()")


class Window(Mouse):
    """The window's size instead of an emulated one."""

    arguments: ClassVar[list[str]] = ["--window-size=1280,720"]
    options: ClassVar[dict[str, Any]] = {"no_viewport": True}


class Media(Mouse):
    """No emulated media."""

    options: ClassVar[dict[str, Any]] = {
        "color_scheme": "null",
        "reduced_motion": "null",
        "forced_colors": "null",
        "contrast": "null",
    }


class OneCall(Mouse):
    """Both scroll steps and the aim in one call."""

    async def scroll(self, page: Page) -> None:
        self._spot = await page.evaluate(f"() => {{ {SCROLL}; {SCROLL}; return ({AIM})() }}")

    async def click(self, page: Page) -> None:
        await page.mouse.click(*self._spot)


class Agent(Mouse):
    """A user agent of its own, as each session of a runner has."""

    options: ClassVar[dict[str, Any]] = {"user_agent": AGENT}


class Events(Mouse):
    """Listens to what a runner counts."""

    def listen(self, page: Page) -> None:
        def main(request: Request) -> bool:
            return request.is_navigation_request() and request.frame == page.main_frame

        page.on("response", lambda r: main(r.request))
        page.on("requestfailed", lambda r: main(r))
        page.on("console", lambda m: m.type)
        page.on("pageerror", lambda e: None)
        page.on("crash", lambda p: None)
        page.on("close", lambda p: None)


class Console(Mouse):
    """Listens to all but the answers."""

    def listen(self, page: Page) -> None:
        for name in ("requestfailed", "console", "pageerror", "crash", "close"):
            page.on(name, lambda _: None)  # type: ignore[call-overload]


class Painted(Mouse):
    """Waits until each page has been painted, as one must who measures paints."""

    async def scroll(self, page: Page) -> None:
        await page.evaluate(PAINTED)
        await super().scroll(page)

    async def leave(self, page: Page) -> None:
        await page.evaluate(PAINTED)


class Two(Mouse):
    """Two browsers."""

    browsers = 2


class Blank(Mouse):
    """Goes to an empty page before it is closed."""

    async def leave(self, page: Page) -> None:
        await page.goto("about:blank")


class Protocol:
    """The DevTools protocol alone, with nothing enabled but what the flow needs."""

    enabled: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def __init__(self, url: str) -> None:
        self._url = url

    async def start(self) -> None:
        path = installed(["chromium"])[0].path
        self._browser = await DevTools.launch(path, "--window-size=1280,720")

    async def session(self, number: int) -> None:
        call = self._browser.call
        context = (await call("Target.createBrowserContext"))["browserContextId"]
        target = await call("Target.createTarget", url="about:blank", browserContextId=context)
        attached = await call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        session = attached["sessionId"]
        await asyncio.gather(
            call("Page.enable", session), *(call(name, session, **more) for name, more in self.enabled)
        )
        loaded = self._browser.event("Page.loadEventFired", session)
        await call("Page.navigate", session, url=self._url)
        await loaded
        await call("Runtime.evaluate", session, expression=SCROLL)
        await call("Runtime.evaluate", session, expression=SCROLL)
        aimed = await call("Runtime.evaluate", session, expression=f"({AIM})()", returnByValue=True)
        x, y = aimed["result"]["value"]
        mouse: dict[str, Any] = {"x": x, "y": y, "button": "left", "clickCount": 1}
        loaded = self._browser.event("Page.loadEventFired", session)
        await call("Input.dispatchMouseEvent", session, type="mouseMoved", x=x, y=y)
        await call("Input.dispatchMouseEvent", session, type="mousePressed", **mouse)
        await call("Input.dispatchMouseEvent", session, type="mouseReleased", **mouse)
        await loaded
        await call("Target.disposeBrowserContext", browserContextId=context)


class ProtocolNetwork(Protocol):
    """What Playwright always listens to: every request."""

    enabled: ClassVar[list[tuple[str, dict[str, Any]]]] = [("Network.enable", {})]


class ProtocolWorlds(ProtocolNetwork):
    """And a world of its own in each document, with its events."""

    enabled: ClassVar[list[tuple[str, dict[str, Any]]]] = [
        *ProtocolNetwork.enabled,
        ("Runtime.enable", {}),
        ("Log.enable", {}),
        ("Page.setLifecycleEventsEnabled", {"enabled": True}),
        ("Page.addScriptToEvaluateOnNewDocument", {"source": "", "worldName": "own"}),
    ]


class ProtocolEmulation(ProtocolWorlds):
    """And the size, focus and media that it emulates."""

    enabled: ClassVar[list[tuple[str, dict[str, Any]]]] = [
        *ProtocolWorlds.enabled,
        ("Emulation.setFocusEmulationEnabled", {"enabled": True}),
        (
            "Emulation.setDeviceMetricsOverride",
            {"width": 1280, "height": 720, "deviceScaleFactor": 1, "mobile": False},
        ),
    ]


class Product:
    """The sessions of a runner: a journey with the flow's steps."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._executor = BrowserExecutor(["chromium"], say=lambda text: None)

    async def start(self) -> None:
        await self._executor.start()

    async def session(self, number: int) -> None:
        steps = [Step(scroll=600), Step(scroll=600), Step(click=Locator(role="link", name="Next"))]
        dispatch = Dispatch(
            job="bench",
            session=number,
            platform=f"{this_system()}-chromium",
            target="t",
            url=self._url,
            seed=number,
            journey=Journey(steps=steps),
        )
        outcome = await self._executor.run(dispatch, lambda event, text: None)
        if outcome.status != "ok":
            raise SystemExit(f"a session failed: {outcome.error}")


VARIANTS: dict[str, Any] = {
    "plain": Plain,
    "mouse": Mouse,
    "css": Css,
    "handle": Handle,
    "called": Called,
    "window": Window,
    "media": Media,
    "one-call": OneCall,
    "agent": Agent,
    "events": Events,
    "console": Console,
    "painted": Painted,
    "two": Two,
    "blank": Blank,
    "protocol": Protocol,
    "protocol-network": ProtocolNetwork,
    "protocol-worlds": ProtocolWorlds,
    "protocol-emulation": ProtocolEmulation,
    "product": Product,
}
