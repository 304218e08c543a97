"""An executor without a browser whose sessions leave files behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from broker_config.artifacts import ArtifactKind
from broker_config.messages import Dispatch, ErrorInfo
from runner.core.egress_pool import EgressPool
from runner.core.outcome import Artifact, Outcome
from runner.work.executor import Say
from tests.support.stub_executor import StubExecutor

SITE_FAULT = ErrorInfo(kind="http_status", detail="the server answered 500")


class LeavingExecutor(StubExecutor):
    """Each session fails by the site's fault and leaves the `files` (name, kind, content) in a folder of its
    own below `folder`."""

    def __init__(
        self,
        folder: Path,
        *files: tuple[str, ArtifactKind, bytes],
        play: Callable[[Dispatch], ErrorInfo | None] = lambda dispatch: SITE_FAULT,
        seconds: float = 0.0,
    ) -> None:
        super().__init__(seconds, play=play)
        self.folder = folder
        self.files = files

    async def run(self, dispatch: Dispatch, say: Say, pool: EgressPool | None = None) -> Outcome:
        outcome = await super().run(dispatch, say, pool)
        own = self.folder / f"{dispatch.job}-{dispatch.session}-{dispatch.attempt}"
        own.mkdir(parents=True)
        left = []
        for name, kind, content in self.files:
            (own / name).write_bytes(content)
            left.append(Artifact(name=name, kind=kind, path=own / name))
        return msgspec.structs.replace(outcome, artifacts=left)

    def on_disk(self) -> list[Path]:
        return list(self.folder.rglob("*"))
