"""What a session leaves behind: recorded in its context, pictured at its end, masked, and put into files."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from playwright.async_api import BrowserContext, Error, Page
from playwright.async_api import Locator as Place

from broker_config.artifacts import ArtifactKind
from broker_config.journey import Fill
from broker_config.messages import Dispatch
from runner.core.artifact_choice import COSTLY, choose, has_secrets, rank
from runner.core.journey_plan import PlannedStep, plan_journey
from runner.core.masking import Masker, SecretMask, secrets_of
from runner.core.outcome import Artifact, Shot

from .console_log import ConsoleLog
from .masked_file import mask_har, mask_trace
from .shots import picture
from .steps import locate

log = logging.getLogger(__name__)

#: For all pictures and the trace at the end of a session, s; and for one picture, ms.
CAPTURE_LIMIT = 15.0
PICTURE_LIMIT = 3_000.0
#: More time than usual for a context to close: a video is finished, a HAR written.
CLOSING = 10.0
MAX_VIDEOS = 3
MAX_COVERED = 20
#: Fields show dots as those for passwords do. In scripts, not in the page: it must not be seen by the site.
_DOTS = """(() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync('input, textarea { -webkit-text-security: disc !important }');
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
})()"""


class Recording:
    """Of one attempt at a session, as its job wants it. `with` it: what `collect` has not handed out is
    removed at the end.

    In order: `options` for the context, `begin`, `capture` when the session has ended and its measures are
    taken, then the context is closed, and `collect` gives the files. None of them raises for what goes wrong
    in a recording: `say` is told, and it is missing. `scratch` is where files go, `video` whether there is a
    program to make videos.
    """

    def __init__(
        self,
        dispatch: Dispatch,
        scratch: Path | None,
        say: Callable[[str, str], None],
        *,
        video: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dispatch = dispatch
        self._scratch = scratch
        self._say = say
        self._clock = clock
        self._choice = choose(dispatch)
        self._lacks_video = "video" in self._choice.kinds and not video
        self._kinds = self._choice.kinds - ({"video"} if self._lacks_video else set())
        self._console = ConsoleLog(clock)
        self._files: list[Artifact] = []
        self._cookies: list[str] = []
        self._tracing = False
        self._work: asyncio.Task[None] | None = None
        self._notes: list[str] = []
        self._handed_out = False
        #: Seconds that `capture` took: none of the session's own.
        self.spent = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._handed_out and "_folder" in self.__dict__:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pending(self) -> set[asyncio.Task[None]]:
        """What still has to end, where `capture` was cut short."""
        return {self._work} if self._work is not None and not self._work.done() else set()

    @property
    def closing(self) -> float:
        """How much longer than usual the context may take to close, s."""
        return CLOSING if self._kinds & {"har", *COSTLY} else 0.0

    def options(self) -> dict[str, Any]:
        """Further arguments for `new_context`."""
        options: dict[str, Any] = {}
        if "har" in self._kinds:
            options |= {"record_har_path": self._folder / "session.har", "record_har_content": "omit"}
        if "video" in self._kinds:
            options["record_video_dir"] = self._folder / "video"
        return options

    async def begin(self, context: BrowserContext) -> None:
        """Call it before the first page is opened."""
        if self._lacks_video:
            self._say("line", "no video: there is no ffmpeg here; name one in TB_FFMPEG, or install it")
        if "console" in self._kinds:
            self._console.listen(context)
        hides = self._choice.mask and (self._fills or has_secrets(self._dispatch))
        if hides and self._kinds & COSTLY:
            await context.add_init_script(_DOTS)
        if "trace" in self._kinds:
            try:
                await context.tracing.start(screenshots=True, snapshots=True, title=self._title)
                self._tracing = True
            except Error as e:
                self._missing("trace", e)
                self._kinds -= {"trace"}

    async def capture(self, context: BrowserContext | None, page: Page | None, *, failed: bool) -> None:
        """Take the pictures of the end. Bounded in time; see `pending`."""
        if context is None or not self._choice.keeps(failed=failed):
            return
        began = self._clock()
        self._work = asyncio.create_task(self._capture(context, page, failed=failed))
        try:
            await asyncio.wait({self._work}, timeout=CAPTURE_LIMIT)
        finally:
            if not self._work.done():
                self._work.cancel()
                self._missing("pictures of the end", "they took too long")
            elif not self._work.cancelled() and (error := self._work.exception()) is not None:
                log.error("unexpected error in the recording of a session", exc_info=error)
            self.spent = self._clock() - began
            self._tell()

    async def collect(self, *, failed: bool, shots: Sequence[Shot] = ()) -> list[Artifact]:
        """The files to store, masked, the most telling first; whoever stores them removes them. After the
        context was closed. `shots` are the pictures that the journey itself took."""
        if not self._choice.keeps(failed=failed):
            return []
        # In a thread: a trace takes long. The folder must not be removed under it.
        work = asyncio.ensure_future(asyncio.to_thread(self._collect, shots))
        try:
            files = await asyncio.shield(work)
        except asyncio.CancelledError:
            if not work.done():
                folder = self._folder
                work.add_done_callback(lambda _: shutil.rmtree(folder, ignore_errors=True))
            raise
        except Exception:
            # Whatever it is, the session is worth more than its pictures.
            log.exception("unexpected error in the recording of a session")
            return []
        self._handed_out = bool(files)
        self._tell()
        return files

    @functools.cached_property
    def _folder(self) -> Path:
        return Path(tempfile.mkdtemp(prefix="artifacts-", dir=self._scratch))

    @functools.cached_property
    def _steps(self) -> list[PlannedStep]:
        return plan_journey(self._dispatch)

    @property
    def _fills(self) -> list[Fill]:
        return [step.argument for step in self._steps if isinstance(step.argument, Fill)]

    @property
    def _title(self) -> str:
        d = self._dispatch
        return f"{d.job} session {d.session} attempt {d.attempt}"

    def covered(self, page: Page) -> list[Place]:
        """Fields that no picture may show."""
        if not self._choice.mask:
            return []
        if self._dispatch.script is not None and has_secrets(self._dispatch):
            return [page.locator("input, textarea")]  # nobody knows into which a script types
        return [locate(page, fill) for fill in self._fills[:MAX_COVERED]]

    async def _capture(self, context: BrowserContext, page: Page | None, *, failed: bool) -> None:
        if "screenshot" in self._kinds and page is not None and not page.is_closed():
            try:
                jpeg = await picture(page, self.covered(page), PICTURE_LIMIT)
                self._put("screenshot", "failure.jpg" if failed else "end.jpg", jpeg)
            except (Error, OSError) as e:
                self._missing("screenshot", e)
        if self._choice.mask:
            # A page may write them into its log, or an address.
            with contextlib.suppress(Error):
                self._cookies = [c.get("value", "") for c in await context.cookies()]
        if self._tracing:
            try:
                await context.tracing.stop(path=self._folder / "trace.zip")
            except (Error, OSError) as e:
                self._missing("trace", e)

    def _collect(self, shots: Sequence[Shot]) -> list[Artifact]:
        masker = None
        if self._choice.mask:
            masker = Masker([*secrets_of(self._dispatch, self._steps), *self._cookies])
        if "screenshot" in self._kinds:
            mask = SecretMask(self._dispatch)
            for n, shot in enumerate(shots, 1):
                self._put("screenshot", f"shot-{n}{_slug(mask(shot.name))}.jpg", shot.jpeg)
        if "console" in self._kinds and (text := self._console.text(masker.text if masker else str)):
            self._put("console", "console.log", text.encode())
        if "har" in self._kinds:
            self._take("har", "session.har", lambda path: mask_har(path, masker) if masker else None)
        if "trace" in self._kinds:
            self._take("trace", "trace.zip", lambda path: mask_trace(path, masker))
        if "video" in self._kinds:
            self._take_videos()
        return sorted(self._files, key=lambda a: (rank(a.kind), a.name))

    def _put(self, kind: ArtifactKind, name: str, data: bytes) -> None:
        try:
            path = self._folder / name
            path.write_bytes(data)
        except OSError as e:
            self._missing(name, e)
        else:
            self._files.append(Artifact(name=name, kind=kind, path=path))

    def _take(self, kind: ArtifactKind, name: str, mask: Callable[[Path], None]) -> None:
        """A file that the browser's side has written."""
        path = self._folder / name
        try:
            mask(path)
        except (OSError, ValueError, RecursionError, zipfile.BadZipFile) as e:
            # It may be there, unmasked.
            path.unlink(missing_ok=True)
            self._missing(kind, e)
        else:
            if path.is_file():
                self._files.append(Artifact(name=name, kind=kind, path=path))

    def _take_videos(self) -> None:
        folder = self._folder / "video"
        made = [p for p in sorted(folder.glob("*.webm"), key=lambda p: p.stat().st_mtime) if p.stat().st_size]
        for n, path in enumerate(made[:MAX_VIDEOS], 1):
            name = "video.webm" if n == 1 else f"video-{n}.webm"
            self._files.append(Artifact(name=name, kind="video", path=path.replace(self._folder / name)))
        shutil.rmtree(folder, ignore_errors=True)
        if not made:
            self._missing("video", "the browser gave no pictures")

    def _missing(self, what: str, why: object) -> None:
        reason = why.message if isinstance(why, Error) else str(why)
        # Whole: whoever is told masks it, and cuts it then.
        self._notes.append(f"no {what}: {reason.splitlines()[0] if reason else 'unknown'}")

    def _tell(self) -> None:
        """Not from the thread in which they were noted."""
        notes, self._notes = self._notes, []
        for note in notes:
            self._say("line", note)


def _slug(name: str) -> str:
    """For a file name."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40].rstrip("-")
    return f"-{words}" if words else ""
